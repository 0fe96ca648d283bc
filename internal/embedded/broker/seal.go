package broker

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// seal is what the broker knows of its folder besides kfake, in a file with a
// checksum. kfake's own state files have none, and what a partition's log has to
// reach from and to can be seen in no log that lacks it.
type seal struct {
	// Files are kfake's state files as they were when a request was last
	// answered, by name.
	Files map[string]string `json:"files"`
	// Left are the checksums of the files that only a clean stop leaves, by
	// path. It is nil while the broker runs, and after a crash.
	Left map[string]uint32 `json:"left,omitempty"`
	// Marks say what each partition's log holds at least, by folder.
	Marks map[string]mark `json:"marks"`
	// Clock is the time up to which records have aged, Unix milliseconds; see
	// trimmer.
	Clock int64 `json:"clock"`
}

// mark says what a partition's log holds at least: the offsets from Start on and
// before End. It moves before records are deleted, so that deleting can be told
// from losing. Offsets are never given again: End outlives the records.
type mark struct {
	Topic      string `json:"topic"` // its id
	Start, End int64
}

const (
	sealFile     = "seal"
	logFolder    = "log"
	partsFolder  = "partitions"
	asideFolder  = "aside"
	topicsFile   = "topics.json"
	configsFile  = "broker_configs.json"
	snapshotFile = "snapshot.json"
)

// entryLogs are the files that kfake appends entries to.
func entryLogs() []string { return []string{"groups.log", "pids.log"} }

// hints are the files of a clean stop that kfake does without.
func hints() []string { return []string{"seq_windows.json", "session_state.json"} }

// readSeal returns nil where there is none: the folder is new, or from before
// there were seals.
func readSeal(dir string) (*seal, error) {
	path := filepath.Join(dir, sealFile)
	raw, err := os.ReadFile(path) //nolint:gosec // in the operator's folder
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil //nolint:nilnil // as said above
	}
	if err != nil {
		return nil, fmt.Errorf("read seal: %w", err)
	}
	damaged := &Damage{
		File: path, What: "the content does not match its checksum",
		fix: func(a *aside) error { return a.move(path) },
	}
	body, sum, found := strings.Cut(string(raw), "\n")
	if !found || sum != sealSum(body) {
		return nil, damaged
	}
	var s seal
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		return nil, damaged
	}
	return &s, nil
}

func (s *seal) write(dir string) error {
	body, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("write seal: %w", err)
	}
	if err := replaceFile(filepath.Join(dir, sealFile), []byte(string(body)+"\n"+sealSum(string(body))), durable); err != nil {
		return fmt.Errorf("write seal: %w", err)
	}
	return nil
}

func sealSum(body string) string {
	return strconv.FormatUint(uint64(crc32.Checksum([]byte(body), checksums())), 16) + "\n"
}

// fileSum is the checksum of a whole file.
func fileSum(path string) (uint32, error) {
	raw, err := os.ReadFile(path) //nolint:gosec // in the operator's folder
	if err != nil {
		return 0, fmt.Errorf("check file: %w", err)
	}
	return crc32.Checksum(raw, checksums()), nil
}

// durable says that a file outlives a power cut from the return on; derived, that
// it can be made again.
const (
	durable = true
	derived = false
)

// replaceFile writes a file in one step: whatever happens, it holds what it held
// or what it has to.
func replaceFile(path string, content []byte, sync bool) (err error) {
	partial := path + ".tmp"
	file, err := os.OpenFile(partial, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) //nolint:gosec // in the operator's folder
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err == nil && sync {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, os.Remove(partial))
	}
	if err := os.Rename(partial, path); err != nil {
		return err
	}
	if !sync {
		return nil
	}
	return syncFile(filepath.Dir(path))
}

// syncError: a file was not written to disk, and what of it was is not known.
type syncError struct{ error }

func (e *syncError) Unwrap() error { return e.error }

// syncFile has what was written to a file, or the entries of a folder, on disk.
func syncFile(path string) error {
	file, err := os.Open(path) //nolint:gosec // in the operator's folder
	if err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return errors.Join(&syncError{err}, file.Close())
	}
	return file.Close()
}
