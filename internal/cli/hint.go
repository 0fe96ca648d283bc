package cli

import (
	"errors"
	"strings"
	"syscall"

	"github.com/vigie-dev/vigie/internal/delivery"
	embedded "github.com/vigie-dev/vigie/internal/embedded/broker"
	"github.com/vigie-dev/vigie/internal/embedded/prometheus"
	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/internal/traces"
	"github.com/vigie-dev/vigie/services/commande"
)

// hint names the setting that fixes an error, or returns "". This is the one
// place where errors meet settings.
func hint(err error) string {
	database := setting(flagDatabase)
	data := "--" + flagData + " (" + variableData + ") or " + database
	switch {
	case outOfFiles(err):
		return "; raise how many files a process may have open (ulimit -n), and start again"
	case outOfSpace(err):
		return "; make room on the disk of " + data + ", and start again"
	case errors.Is(err, storage.ErrInUse):
		return "; stop that process or choose another folder with " + data
	case errors.Is(err, storage.ErrNotWritable):
		return "; choose a folder that can be written with " + data
	case errors.Is(err, storage.ErrUnreachable):
		return "; start it, or check " + database
	case errors.Is(err, storage.ErrDamaged):
		return "; put a copy in its place, or move it away and have the state rebuilt by `vigie reset`"
	case errors.Is(err, storage.ErrMissing):
		return "; choose the services' folder with " + data
	case errors.Is(err, storage.ErrUnsupportedURL):
		return "; set " + database
	case errors.Is(err, storage.ErrForeign), errors.Is(err, delivery.ErrLogMismatch), errors.Is(err, kafka.ErrReplaced), errors.Is(err, commande.ErrIDsBehind):
		return "; choose the folder that belongs to this cluster with " + data + ", or have the state rebuilt by `vigie reset`"
	case errors.Is(err, httpapi.ErrAddress):
		name, _, _ := strings.Cut(err.Error(), ":")
		if name == prometheus.Name {
			return "; choose another with " + setting(name+flagAddr) + ", or name a running Prometheus with " + setting(flagPrometheus)
		}
		return "; choose another with " + setting(name+flagAddr)
	case errors.Is(err, prometheus.ErrAlertmanager):
		return check(flagAlertmanager)
	case errors.Is(err, httpapi.ErrTokens):
		name, _, _ := strings.Cut(err.Error(), ":")
		return check(name + flagTokens)
	case errors.Is(err, httpapi.ErrCertificate):
		return check(flagHTTPCert, flagHTTPKey)
	case errors.Is(err, errNeedsSpans), errors.Is(err, traces.ErrAway):
		return "; start one with `vigie up`, or set --" + flagPage + " (" + variablePageURL + ") or --" + flagJaegerURL + " (" + variableJaegerURL + ")"
	default:
		return brokerHint(err)
	}
}

// outOfSpace says whether a disk, or a share of it, is full.
func outOfSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// brokerHint is hint for what is wrong with the broker, or with reaching it.
func brokerHint(err error) string {
	switch {
	case errors.Is(err, embedded.ErrDamaged):
		return "; restore a copy of the data folder, or give up what is damaged with `vigie broker --salvage`, which keeps it aside (docs/embedded-broker.md)"
	case errors.Is(err, kafka.ErrUnreadable):
		return "; see docs/operations.md#a-batch-that-cannot-be-read"
	case errors.Is(err, embedded.ErrDisk):
		return "; nothing that was acknowledged is lost: see that the disk is well, and start again"
	case errors.Is(err, embedded.ErrAddress):
		return "; choose another with " + setting(flagBrokerAddr) + ", or name a running broker with " + setting(flagBrokers)
	case errors.Is(err, kafka.ErrAddress):
		return "; set " + setting(flagBrokers)
	case errors.Is(err, kafka.ErrTLS):
		return check(flagTLS, flagTLSCA, flagTLSCert, flagTLSKey)
	case errors.Is(err, kafka.ErrSASL):
		return check(flagSASLMechanism, flagSASLUser, flagSASLPassword) + " or " + variable(flagSASLPassword+flagFileSuffix)
	case errors.Is(err, kafka.ErrUnreachable):
		return "; start everything with `vigie up`, or a broker with `vigie broker`, or set " + setting(flagBrokers)
	default:
		return ""
	}
}

// setting names a flag and its environment variable.
func setting(flag string) string { return "--" + flag + " (" + variable(flag) + ")" }

// check says which settings to look at.
func check(flags ...string) string {
	names := make([]string, len(flags))
	for i, f := range flags {
		names[i] = setting(f)
	}
	return "; check " + strings.Join(names, ", ")
}
