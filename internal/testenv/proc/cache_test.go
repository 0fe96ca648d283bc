package proc_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/vigie-dev/vigie/internal/testenv/proc"
)

// What was made once is not made again, and what failed leaves nothing.
func TestOnce(t *testing.T) {
	home := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", home)
	if path, ok := proc.Cached("thing"); ok {
		t.Errorf("%s is there before it was made", path)
	}
	made := 0
	fill := func(aside string) error {
		made++
		return os.WriteFile(aside, []byte("whole"), 0o600)
	}
	for range 2 {
		path, err := proc.Once("thing", fill)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(path); err != nil || string(text) != "whole" {
			t.Errorf("%q, %v", text, err)
		}
		if cached, ok := proc.Cached("thing"); !ok || cached != path {
			t.Errorf("cached is %q, %v, want %q", cached, ok, path)
		}
	}
	if made != 1 {
		t.Errorf("made %d times", made)
	}
	if _, err := proc.Once("other", func(aside string) error {
		return os.WriteFile(filepath.Join(filepath.Dir(aside), "gone", "file"), nil, 0o600)
	}); err == nil {
		t.Error("a failure is no error")
	}
	entries, err := os.ReadDir(filepath.Join(home, "vigie", "servers"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	if want := []string{"lock", "thing"}; !slices.Equal(names, want) {
		t.Errorf("the cache holds %v, want %v", names, want)
	}
}

// Jars are found by the beginning of their name, and one alone.
func TestJar(t *testing.T) {
	j := proc.Java{Libs: t.TempDir()}
	for _, name := range []string{"server-1.0.jar", "client-1.jar", "client-2.jar"} {
		if err := os.WriteFile(filepath.Join(j.Libs, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if path, err := j.Jar("server"); err != nil || filepath.Base(path) != "server-1.0.jar" {
		t.Errorf("%q, %v", path, err)
	}
	for _, name := range []string{"client", "nothing"} {
		if path, err := j.Jar(name); err == nil {
			t.Errorf("%s is %s", name, path)
		}
	}
}
