//go:build unix

package kafka

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// archive has one broker write the archive of its classes when it stops, if
// nobody did so before. JEP 350 describes it.
func (b *Broker) archive(ctx context.Context) error {
	home := filepath.Dir(b.classes)
	lock, err := locked(home)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	if _, err := os.Stat(b.classes); err == nil {
		return nil
	}
	aside := b.classes + ".part"
	if err := b.run(ctx, "-XX:ArchiveClassesAtExit="+aside); err != nil {
		return err
	}
	if err := b.Stop(); err != nil {
		return err
	}
	if err := os.Rename(aside, b.classes); err != nil {
		// Not every JVM can; an empty file says not to try again.
		if err := os.WriteFile(b.classes, nil, 0o600); err != nil {
			return fmt.Errorf("keep class archive: %w", err)
		}
	}
	return nil
}
