package dashboards

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// lineWidth is how long what stands on one line may be, without its indentation.
const lineWidth = 220

// Format returns a dashboard's JSON as it stands in the repository: what fits on a line
// stands on one, so that an override or a threshold that changes is a line of the
// difference, and a panel is seen at one glance. The order of the names stays.
func Format(data []byte) (string, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	v, err := read(decoder)
	if err != nil {
		return "", fmt.Errorf("format a dashboard: %w", err)
	}
	var out strings.Builder
	v.write(&out, "")
	return out.String() + "\n", nil
}

// value is a JSON value whose members are in the order of the file.
type value struct {
	compact string   // on one line
	open    string   // "{", "[", or "" for what has no members
	names   []string // of an object's members, as JSON
	members []value
}

func read(decoder *json.Decoder) (value, error) {
	token, err := decoder.Token()
	if err != nil {
		return value{}, err
	}
	delim, ok := token.(json.Delim)
	if !ok {
		text, err := encode(token)
		return value{compact: text}, err
	}
	v := value{open: delim.String()}
	var parts []string
	for decoder.More() {
		name := ""
		if delim == '{' {
			key, err := decoder.Token()
			if err != nil {
				return value{}, err
			}
			if name, err = encode(key); err != nil {
				return value{}, err
			}
			name += ": "
		}
		member, err := read(decoder)
		if err != nil {
			return value{}, err
		}
		v.names, v.members = append(v.names, name), append(v.members, member)
		parts = append(parts, name+member.compact)
	}
	end, err := decoder.Token()
	v.compact = fmt.Sprint(v.open, strings.Join(parts, ", "), end)
	return v, err
}

// encode is a text, number, bool or null as JSON, with its signs as they are.
func encode(token json.Token) (string, error) {
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(token)
	return strings.TrimSpace(out.String()), err
}

func (v value) write(out *strings.Builder, indent string) {
	if utf8.RuneCountInString(v.compact) <= lineWidth || len(v.members) == 0 {
		out.WriteString(v.compact)
		return
	}
	out.WriteString(v.open + "\n")
	for i, member := range v.members {
		out.WriteString(indent + "  " + v.names[i])
		member.write(out, indent+"  ")
		if i < len(v.members)-1 {
			out.WriteString(",")
		}
		out.WriteString("\n")
	}
	out.WriteString(indent + v.compact[len(v.compact)-1:])
}
