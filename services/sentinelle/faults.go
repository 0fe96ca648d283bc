package sentinelle

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/vigie-dev/vigie/internal/faults"
	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/i18n"
	"github.com/vigie-dev/vigie/internal/loopback"
	"github.com/vigie-dev/vigie/internal/service"
)

// FaultList is what GET /faults answers to programs. Fields are added, never renamed.
type FaultList struct {
	Faults []faults.Status `json:"faults"`
}

// StoppedFaults is what a stop answers: the names of the faults that were in force.
type StoppedFaults struct {
	Stopped []string `json:"stopped"`
}

// faultTimeout bounds how long it takes to break something, or to fix it.
const faultTimeout = 15 * time.Second

// serveFaults takes requests to break things on purpose. Where nobody may, they are
// told so.
func (p *page) serveFaults(router *httpapi.Router) {
	router.Handle("GET /faults", p.breakable(p.faultList))
	router.Handle("POST /faults/{name}/start", p.breakable(p.switching(p.startFault)))
	router.Handle("POST /faults/{name}/stop", p.breakable(p.switching(p.stopFault)))
	router.Handle("POST /faults/stop", p.breakable(p.switching(p.stopFaults)))
}

func (p *page) breakable(next http.HandlerFunc) http.HandlerFunc {
	if p.around.Faults != nil {
		return next
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		httpapi.WriteProblem(w, httpapi.Problem{Type: httpapi.UnknownResource, Detail: "Nothing is broken on purpose here: only `vigie up` does that, on an address of this machine alone or with --faults and a token."})
	}
}

// measureFaults has the metrics say which faults are in force.
func measureFaults(b *service.Base, switches *faults.Switches) error {
	if switches == nil {
		return nil
	}
	registration, err := switches.Measure(b.Telemetry.Instruments())
	if err != nil {
		return err
	}
	b.Stack.OnStop("faults' metric", func(context.Context) error { return registration.Unregister() })
	return nil
}

// faultsInForce are those that are shown on every page.
func (p *page) faultsInForce() []faults.Status {
	if p.around.Faults == nil {
		return nil
	}
	return p.around.Faults.InForce()
}

// faultView is the body of the page of faults.
type faultView struct {
	All   []faults.Status
	Error i18n.Text
}

func (p *page) faultList(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Vary", "Accept")
	if !httpapi.WantsPage(r) {
		httpapi.WriteJSON(w, http.StatusOK, FaultList{p.around.Faults.List()})
		return
	}
	p.showFaults(w, r, http.StatusOK, nil)
}

func (p *page) showFaults(w http.ResponseWriter, r *http.Request, status int, err error) {
	body := faultView{All: p.around.Faults.List()}
	if err != nil {
		body.Error = i18n.ErrorText(err)
	}
	p.show(w, r, status, "faults", frame{Title: i18n.Textf("Faults"), Body: body})
}

// switching is a request that breaks or fixes. The router refuses those of pages of
// other sites. A name that leads here is refused too unless it is this machine's own, or
// a token had to be shown: a page of another site can have its own name lead to this machine,
// and would then be no other site to the browser, which gives it no token of ours.
func (p *page) switching(do func(context.Context, *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !p.around.FaultsByToken && !loopback.Is(r.Host) {
			httpapi.WriteProblem(w, httpapi.Problem{Type: httpapi.ForeignPage, Detail: "Faults are started and stopped by an address of this machine alone, such as 127.0.0.1."})
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), faultTimeout)
		defer cancel()
		answer, err := do(ctx, r)
		switch {
		case err == nil && wantsJSON(r):
			httpapi.WriteJSON(w, http.StatusOK, answer)
		case err == nil:
			w.Header().Set("Location", "/faults")
			w.WriteHeader(http.StatusSeeOther)
		case httpapi.WantsPage(r):
			p.showFaults(w, r, faultProblem(err).Type.Facts().Status, err)
		default:
			httpapi.WriteProblem(w, faultProblem(err))
		}
	}
}

func faultProblem(err error) httpapi.Problem {
	p := httpapi.Problem{Type: httpapi.Fault, Detail: err.Error()}
	switch {
	case errors.Is(err, faults.ErrUnknown):
		p.Type = httpapi.UnknownResource
	case errors.Is(err, faults.ErrLength), errors.Is(err, faults.ErrInForce):
		p.Type = httpapi.InvalidRequest
	case errors.Is(err, faults.ErrClosed):
		p.Type = httpapi.NotReady
	}
	return p
}

func (p *page) startFault(ctx context.Context, r *http.Request) (any, error) {
	var length time.Duration
	if text := r.PostFormValue("for"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil || length <= 0 {
			return nil, fmt.Errorf("for %.32q: %w, such as 90s or 2m", text, faults.ErrLength)
		}
	}
	return p.around.Faults.Start(ctx, r.PathValue("name"), length)
}

func (p *page) stopFault(ctx context.Context, r *http.Request) (any, error) {
	name, stopped := r.PathValue("name"), []string{}
	was, err := p.around.Faults.Stop(ctx, name)
	if was {
		stopped = append(stopped, name)
	}
	return StoppedFaults{stopped}, err
}

func (p *page) stopFaults(ctx context.Context, _ *http.Request) (any, error) {
	stopped, err := p.around.Faults.StopAll(ctx)
	return StoppedFaults{stopped}, err
}
