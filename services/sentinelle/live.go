package sentinelle

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/vigie-dev/vigie/internal/httpapi"
)

// maxViewers is how many pages are kept up to date at once; those beyond stand
// still until they are loaded again.
const maxViewers = 64

// liveParts are the parts of pages that follow the bank, each a template of its
// own name.
func liveParts() []string {
	return []string{"state", "headline", "map", "latest", "services", "alerts"}
}

// rendered is a snapshot as the parts of pages, made once for all who look.
type rendered struct {
	of    *Snapshot
	parts map[string]string
}

// renderer keeps the parts of the latest snapshot.
type renderer struct {
	mu     sync.Mutex
	latest rendered
}

// parts returns a snapshot's parts.
func (p *page) parts(s *Snapshot) (map[string]string, error) {
	p.renderer.mu.Lock()
	defer p.renderer.mu.Unlock()
	if p.renderer.latest.of == s {
		return p.renderer.latest.parts, nil
	}
	body, all := p.look(s), map[string]string{}
	for _, name := range liveParts() {
		var text bytes.Buffer
		if err := p.views["home"].ExecuteTemplate(&text, name, body); err != nil {
			return nil, fmt.Errorf("render %s: %w", name, err)
		}
		all[name] = text.String()
	}
	p.renderer.latest = rendered{s, all}
	return all, nil
}

// events sends the parts that have changed, as they do.
func (p *page) events(ctx context.Context, send func(httpapi.Event) error) error {
	shown := map[string]string{}
	return p.lookout.Watch(ctx, func(s *Snapshot) error {
		all, err := p.parts(s)
		if err != nil {
			return err
		}
		changed := false
		for _, name := range liveParts() {
			if shown[name] == all[name] {
				continue
			}
			changed = true
			shown[name] = all[name]
			data, err := json.Marshal(map[string]string{"part": name, "html": all[name]})
			if err != nil {
				return fmt.Errorf("encode %s: %w", name, err)
			}
			if err := send(httpapi.Event{Name: "part", Data: string(data)}); err != nil {
				return err
			}
		}
		if !changed { // it also finds out that the client has gone
			return send(httpapi.Event{})
		}
		return nil
	})
}
