package verdicts

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// The corpus is in files, which tests alone read and write.

// maxLine bounds a line of a file, in bytes.
const maxLine = 1 << 20

// Write writes what was seen of a place as JSON lines: the place, then the samples.
func Write(w io.Writer, place Place, samples []Sample) error {
	encoder := json.NewEncoder(w)
	if err := encoder.Encode(place); err != nil {
		return fmt.Errorf("write the samples of %s: %w", place, err)
	}
	for i := range samples {
		if err := encoder.Encode(&samples[i]); err != nil {
			return fmt.Errorf("write the samples of %s: %w", place, err)
		}
	}
	return nil
}

// Read reads what Write writes. Fields of the first line that it does not know,
// such as remarks, are left out. Lines without content are passed over.
func Read(r io.Reader) (place Place, samples []Sample, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	placed := false
	for number := 1; lines.Scan(); number++ {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		if !placed {
			if err := json.Unmarshal(line, &place); err != nil {
				return Place{}, nil, fmt.Errorf("read samples, line %d: want their place: %w", number, err)
			}
			placed = true
			continue
		}
		var s Sample
		decoder := json.NewDecoder(bytes.NewReader(line))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&s); err != nil {
			return Place{}, nil, fmt.Errorf("read samples, line %d: %w", number, err)
		}
		samples = append(samples, s)
	}
	if err := lines.Err(); err != nil {
		return Place{}, nil, fmt.Errorf("read samples: %w", err)
	}
	if !placed {
		return Place{}, nil, fmt.Errorf("read samples: %w", io.ErrUnexpectedEOF)
	}
	return place, samples, nil
}
