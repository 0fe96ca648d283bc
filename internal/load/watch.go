package load

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/procfs"

	"github.com/vigie-dev/vigie/internal/lifecycle"
)

// Page is a service's page of metrics.
type Page struct {
	Service string
	URL     string // without a path
}

// figures are what a page says of its process and its service.
type figures struct {
	at         time.Time
	begun      float64 // when the process began: one for all services of a process
	cpu        float64 // seconds
	heap       float64 // bytes
	goroutines float64
	lag        float64 // records
	consumes   bool
}

// scrapeTime bounds the reading of a page.
const scrapeTime = 2 * time.Second

// scrape reads a page.
func scrape(ctx context.Context, client *http.Client, url string) (f figures, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, scrapeTime)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", nil)
	if err != nil {
		return f, false
	}
	status, body, err := answer(client, q, "")
	if err != nil || status != http.StatusOK {
		return f, false
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		return f, false
	}
	f.at = time.Now()
	f.begun = sum(families["process_start_time_seconds"])
	f.cpu = sum(families["process_cpu_seconds_total"])
	f.goroutines = sum(families["go_goroutines"])
	f.heap = sum(families["process_memory_usage_bytes"], "type", "heapUsed")
	f.lag = sum(families["kafka_consumer_lag"])
	f.consumes = families["kafka_consumer_lag"] != nil
	return f, true
}

// sum adds up a family's values, of those with a label only.
func sum(family *dto.MetricFamily, label ...string) (total float64) {
	for _, m := range family.GetMetric() {
		if len(label) == 2 && !slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool {
			return l.GetName() == label[0] && l.GetValue() == label[1]
		}) {
			continue
		}
		total += m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetUntyped().GetValue()
	}
	return total
}

// Sample is a process at one moment. CPU is in cores, since the sample before.
type Sample struct {
	At         float64 `json:"atSeconds"`
	CPU        float64 `json:"cpuCores"`
	Heap       float64 `json:"heapBytes"`
	Goroutines float64 `json:"goroutines"`
}

// Process is one of the processes that the services run in. Before is at rest before
// the run, After once the run's traces have gone, or were waited for in vain.
type Process struct {
	Services  []string `json:"services"`
	Restarted bool     `json:"restarted"` // it is another one than before the run
	Before    *Sample  `json:"before"`
	After     *Sample  `json:"after"`
	MeanCPU   float64  `json:"meanCpuCores"`
	PeakCPU   float64  `json:"peakCpuCores"`
	Samples   []Sample `json:"samples"`
}

// Name is the services that it has.
func (p Process) Name() string { return strings.Join(p.Services, ", ") }

// Lag is what a service has left to read, in records, over the run.
type Lag struct {
	Service string      `json:"service"`
	Peak    float64     `json:"peakRecords"`
	Samples []LagSample `json:"samples"`
}

// LagSample is a lag at one moment.
type LagSample struct {
	At      float64 `json:"atSeconds"`
	Records float64 `json:"records"`
}

// watcher reads the services' pages, and looks at this process and this machine.
type watcher struct {
	cfg    *Config
	client *http.Client
	start  time.Time
	own    func() (cpu float64, ok bool)
	box    func() (busy, all float64, ok bool)

	mu        sync.Mutex
	before    map[Page]figures
	last      map[Page]figures
	samples   map[Page][]Sample
	lags      map[string][]LagSample
	restarted map[Page]bool
	generator []float64 // cores, between two looks
	machine   []float64 // share that was busy
	ownBefore float64
	boxBefore [2]float64
	lookedAt  time.Time
}

func newWatcher(cfg *Config, client *http.Client) *watcher {
	return &watcher{
		cfg: cfg, client: client, own: ownCPU(), box: machineCPU(), last: map[Page]figures{}, samples: map[Page][]Sample{},
		lags: map[string][]LagSample{}, restarted: map[Page]bool{},
	}
}

// all reads all pages at once.
func (w *watcher) all(ctx context.Context) map[Page]figures {
	var mu sync.Mutex
	var group sync.WaitGroup
	found := map[Page]figures{}
	for _, page := range w.cfg.Pages {
		group.Go(func() {
			if f, ok := scrape(ctx, w.client, page.URL); ok {
				mu.Lock()
				defer mu.Unlock()
				found[page] = f
			}
		})
	}
	group.Wait()
	return found
}

// rest reads the pages before the run.
func (w *watcher) rest(ctx context.Context) {
	w.before = w.all(ctx)
	for page, f := range w.before {
		w.last[page] = f
	}
	w.ownBefore, _ = w.own()
	w.boxBefore[0], w.boxBefore[1], _ = w.box()
	w.lookedAt = time.Now()
}

// run looks at every interval until ctx ends.
func (w *watcher) run(ctx context.Context, every time.Duration) {
	_ = lifecycle.Every(ctx, every, func(ctx context.Context) error {
		w.look(ctx)
		return nil
	})
}

// look takes a sample of everything.
func (w *watcher) look(ctx context.Context) {
	found := w.all(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	at := time.Since(w.start).Seconds()
	lags := map[string]float64{}
	for page, f := range found {
		before, known := w.last[page]
		w.last[page] = f
		if known && before.begun != f.begun {
			w.restarted[page], known = true, false
		}
		s := Sample{At: at, Heap: f.heap, Goroutines: f.goroutines}
		if past := f.at.Sub(before.at).Seconds(); known && past > 0 {
			s.CPU = max(0, f.cpu-before.cpu) / past
		}
		w.samples[page] = append(w.samples[page], s)
		if f.consumes {
			lags[page.Service] += f.lag
		}
	}
	for service, lag := range lags {
		w.lags[service] = append(w.lags[service], LagSample{at, lag})
	}
	w.lookAtUs()
}

// lookAtUs takes a sample of this process and this machine. The caller has the lock.
func (w *watcher) lookAtUs() {
	past := time.Since(w.lookedAt).Seconds()
	w.lookedAt = time.Now()
	if cpu, ok := w.own(); ok && past > 0 {
		w.generator = append(w.generator, max(0, cpu-w.ownBefore)/past)
		w.ownBefore = cpu
	}
	if busy, all, ok := w.box(); ok && all > w.boxBefore[1] {
		w.machine = append(w.machine, (busy-w.boxBefore[0])/(all-w.boxBefore[1]))
		w.boxBefore = [2]float64{busy, all}
	}
}

// processes are the pages' processes: services that began at the very same moment
// are one.
func (w *watcher) processes(after map[Page]figures) (all []Process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	byBegin := map[float64]int{}
	for _, page := range w.cfg.Pages {
		f, known := w.before[page]
		if !known {
			continue
		}
		if i, seen := byBegin[f.begun]; seen && f.begun != 0 {
			if !slices.Contains(all[i].Services, page.Service) {
				all[i].Services = append(all[i].Services, page.Service)
			}
			continue
		}
		byBegin[f.begun] = len(all)
		p := Process{Services: []string{page.Service}, Restarted: w.restarted[page], Samples: w.samples[page], Before: &Sample{Heap: f.heap, Goroutines: f.goroutines}}
		if f, known := after[page]; known {
			p.After = &Sample{At: f.at.Sub(w.start).Seconds(), Heap: f.heap, Goroutines: f.goroutines}
			p.Restarted = p.Restarted || f.begun != w.before[page].begun
		}
		var cpu []float64
		for _, s := range p.Samples {
			cpu = append(cpu, s.CPU)
		}
		p.MeanCPU, p.PeakCPU = meanAndPeak(cpu)
		all = append(all, p)
	}
	return all
}

func meanAndPeak(values []float64) (mean, peak float64) {
	for _, v := range values {
		mean += v / float64(len(values))
		peak = max(peak, v)
	}
	return mean, peak
}

// ownCPU returns what says how many seconds of CPU this process has used, where the
// system tells. Prometheus' collector knows how each system does.
func ownCPU() func() (float64, bool) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return func() (float64, bool) {
		families, err := registry.Gather()
		for _, family := range families {
			if err == nil && family.GetName() == "process_cpu_seconds_total" {
				return sum(family), true
			}
		}
		return 0, false
	}
}

// machineCPU returns what says for how many seconds the machine's cores were busy,
// and how many there were, where the system tells: on Linux.
func machineCPU() func() (busy, all float64, ok bool) {
	return func() (busy, all float64, ok bool) {
		fs, err := procfs.NewDefaultFS()
		if err != nil {
			return 0, 0, false
		}
		stat, err := fs.Stat()
		if err != nil {
			return 0, 0, false
		}
		c := stat.CPUTotal
		busy = c.User + c.Nice + c.System + c.IRQ + c.SoftIRQ + c.Steal
		return busy, busy + c.Idle + c.Iowait, true
	}
}
