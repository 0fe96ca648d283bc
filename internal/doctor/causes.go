package doctor

import (
	"slices"
	"strings"
)

// symptom is what was seen of a part, with what it may come from.
type symptom struct {
	Finding
	// because are the parts whose fault explains this one, the likeliest first.
	because []string
	// alike marks a fault that several parts show where one thing is wrong with
	// all of them: those with the same mark are one finding. "" is like no other.
	alike string
	// away says where a part does not answer, and why; nil where it does.
	away *absence
}

type absence struct{ where, reason string }

// from says whose fault this may be.
func (s *symptom) from(parts ...string) *symptom {
	s.because = append(s.because, parts...)
	return s
}

// like gives the symptom its mark.
func (s *symptom) like(mark string) *symptom {
	s.alike = mark
	return s
}

// Families of parts, which are started together.
const (
	familyBank       = "bank"
	familyMonitoring = "monitoring"

	remedyNothing = "Start it with `make run`, or `make start` for the whole stack in Docker; what listens elsewhere is named by --kafka-brokers, --commande-addr and their like."
)

// away adds a part that does not answer. Those of one family that do not answer
// for the same reason are one finding.
func (e *exam) away(family, part, where, reason, remedy string) *symptom {
	_, host, _ := strings.Cut(where, "://")
	host, _, _ = strings.Cut(host, "/")
	if host == "" {
		host = where
	}
	reason = strings.TrimSpace(strings.ReplaceAll(reason, host, ""))
	s := e.wrong(part, "does not answer at "+where+": "+reason, remedy)
	s.away = &absence{where, reason}
	return s.like(family + " is away: " + reason)
}

// oneForEachCause makes one finding of all that has one cause: of a part's fault
// and what follows from it elsewhere, and of parts that show the same.
func oneForEachCause(symptoms []symptom) []Finding {
	return merge(explained(nothingRuns(symptoms)))
}

// nothingRuns has all parts share a mark where none of them answers.
func nothingRuns(symptoms []symptom) []symptom {
	const fewest = 3 // parts: the fault of one or two is their own
	away := 0
	for _, s := range symptoms {
		switch {
		case s.away != nil:
			away++
		case s.Part != partCertificates:
			return symptoms
		}
	}
	for i := range symptoms {
		if away >= fewest && symptoms[i].away != nil {
			symptoms[i].alike, symptoms[i].Remedy = "nothing runs", remedyNothing
		}
	}
	return symptoms
}

// explained leaves out what another part's fault explains, and says there what
// it affects.
func explained(symptoms []symptom) []symptom {
	causes := make([]int, len(symptoms))
	for i := range symptoms {
		causes[i] = cause(symptoms, i)
	}
	for i, s := range symptoms {
		root := i
		for range symptoms { // bounded, should two faults explain each other
			root = causes[root]
		}
		if root != i {
			symptoms[root].Affects = append(symptoms[root].Affects, s.Part+" "+s.Detail)
		}
	}
	var out []symptom
	for i, s := range symptoms {
		if causes[i] == i {
			out = append(out, s)
		}
	}
	return out
}

// cause is the symptom that explains the one at i, or i itself.
func cause(symptoms []symptom, i int) int {
	for _, part := range symptoms[i].because {
		for j := range symptoms {
			if j != i && !symptoms[j].OK && symptoms[j].Part == part {
				return j
			}
		}
	}
	return i
}

// merge makes one finding of the symptoms with the same mark, where the first one
// was.
func merge(symptoms []symptom) (out []Finding) {
	done := map[string]bool{}
	for i, s := range symptoms {
		if s.alike == "" {
			out = append(out, s.Finding)
			continue
		}
		if !done[s.alike] {
			done[s.alike] = true
			out = append(out, merged(slices.DeleteFunc(slices.Clone(symptoms[i:]), func(other symptom) bool { return other.alike != s.alike })))
		}
	}
	return out
}

// merged is one finding for symptoms that are alike.
func merged(all []symptom) Finding {
	out := all[0].Finding
	if len(all) == 1 {
		return out
	}
	var parts, details, reasons []string
	for i, s := range all {
		parts = append(parts, s.Part)
		if i > 0 {
			out.Affects = append(out.Affects, s.Affects...)
		}
		if s.away == nil {
			details = append(details, s.Detail)
		} else {
			details, reasons = append(details, s.away.where), append(reasons, s.away.reason)
		}
	}
	out.Part, out.Affects = listed(unique(parts)), unique(out.Affects)
	out.Detail = strings.Join(unique(details), "; ")
	if reasons != nil {
		out.Detail = "do not answer: " + strings.Join(unique(reasons), "; ") + " (" + strings.Join(unique(details), ", ") + ")"
	}
	return out
}

func unique(texts []string) (out []string) {
	for _, t := range texts {
		if !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}
