// Command helm renders the chart deploy/helm/vigie with Helm's own library, for who has Go and no Helm, and packs it:
//
//	go -C tools/helm run . -set kafka.brokers=kafka:9092 >vigie.yaml
//	go -C tools/helm run . -f values.yaml -name bank -namespace bank | kubectl apply -n bank --server-side -f -
//	go -C tools/helm run . -pack ../../bin
//
// It stands in a module of its own, so that the application does not require what Helm requires.
//
// The tests render the chart's variants and compare them with testdata/ and with deploy/kubernetes, refuse what cannot be meant
// so, and hold every object against Kubernetes' own types and its restricted security standard. Those behind the build tag
// kubernetes have a real API server take all of them.
package main

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/engine"
	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"
	"helm.sh/helm/v4/pkg/strvals"
	"sigs.k8s.io/yaml"
)

func main() {
	quiet()
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "helm:", err)
		}
		os.Exit(1)
	}
}

// quiet keeps Helm from saying of each link in the chart that it follows it: they are
// meant.
func quiet() { slog.SetLogLoggerLevel(slog.LevelWarn) }

// lines is a flag that may be given several times.
type lines []string

func (l *lines) String() string { return strings.Join(*l, " ") }

func (l *lines) Set(line string) error {
	*l = append(*l, line)
	return nil
}

func run(args []string, stdout, stderr io.Writer) error {
	var r release
	var set lines
	flags := flag.NewFlagSet("helm", flag.ContinueOnError)
	flags.SetOutput(stderr)
	folder := flags.String("chart", "../../deploy/helm/vigie", "`FOLDER` of the chart")
	file := flags.String("f", "", "`FILE` of values")
	pack := flags.String("pack", "", "write the chart as an archive to this `FOLDER`, in place of rendering it")
	flags.StringVar(&r.name, "name", "", "the release's `NAME` (default: the chart's)")
	flags.StringVar(&r.namespace, "namespace", "default", "the `NAMESPACE` that it is for")
	flags.Var(&set, "set", "`KEY=VALUE` of the values; may be repeated")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *pack != "" {
		return packChart(*folder, *pack, stdout)
	}
	var err error
	if r.values, err = readValues(*file, set); err != nil {
		return err
	}
	out, err := render(*folder, r)
	if err != nil {
		return err
	}
	_, err = stdout.Write(out.document())
	return err
}

// packChart writes NAME-VERSION.tgz, in which the rules and dashboards are files of their own and no links.
func packChart(folder, to string, stdout io.Writer) error {
	loaded, err := loader.Load(folder)
	if err != nil {
		return fmt.Errorf("load chart: %w", err)
	}
	file, err := chartutil.Save(loaded, to)
	if err != nil {
		return fmt.Errorf("pack chart: %w", err)
	}
	_, err = fmt.Fprintln(stdout, file)
	return err
}

// kubernetesVersion is that of the types and servers that the tests hold the chart against.
const kubernetesVersion = "v1.37.2"

// release is what Helm would install: the chart under a name, with values.
type release struct {
	name      string // default: the chart's
	namespace string // default: default
	values    map[string]any
	// helm: the objects say that Helm manages them.
	helm bool
}

// readValues reads a file of values, "" for none, and what --set adds to it.
func readValues(file string, set []string) (map[string]any, error) {
	values := map[string]any{}
	if file != "" {
		text, err := os.ReadFile(file) //nolint:gosec // named by who runs this
		if err != nil {
			return nil, fmt.Errorf("read values: %w", err)
		}
		if err := yaml.Unmarshal(text, &values); err != nil {
			return nil, fmt.Errorf("read values %s: %w", file, err)
		}
	}
	for _, s := range set {
		if err := strvals.ParseInto(s, values); err != nil {
			return nil, fmt.Errorf("set %s: %w", s, err)
		}
	}
	return values, nil
}

// rendered is a chart with values: the objects in the order in which they are to be
// applied, each a document of YAML, and the notes for who installs it.
type rendered struct {
	objects []string
	notes   string
}

// render renders the chart in a folder, as `helm template` does.
func render(folder string, r release) (rendered, error) {
	loaded, err := loader.Load(folder)
	if err != nil {
		return rendered{}, fmt.Errorf("load chart: %w", err)
	}
	cluster, err := kubernetes()
	if err != nil {
		return rendered{}, err
	}
	options := common.ReleaseOptions{Name: cmp.Or(r.name, loaded.Name()), Namespace: cmp.Or(r.namespace, "default"), Revision: 1, IsInstall: true}
	values, err := util.ToRenderValues(loaded, r.values, options, cluster)
	if err != nil {
		return rendered{}, fmt.Errorf("check values: %w", err)
	}
	if !r.helm {
		// Who applies the objects without Helm manages them without Helm.
		values["Release"].(map[string]any)["Service"] = "kubectl"
	}
	files, err := engine.Render(loaded, values)
	if err != nil {
		return rendered{}, fmt.Errorf("render: %w", err)
	}
	return sorted(loaded, files)
}

// kubernetes is the cluster that is rendered for, whose version the chart may ask for.
func kubernetes() (*common.Capabilities, error) {
	version, err := common.ParseKubeVersion(kubernetesVersion)
	if err != nil {
		return nil, fmt.Errorf("version of Kubernetes: %w", err)
	}
	cluster := common.DefaultCapabilities.Copy()
	cluster.KubeVersion = *version
	return cluster, nil
}

func sorted(loaded *chart.Chart, files map[string]string) (rendered, error) {
	var out rendered
	for name, text := range files {
		if strings.HasSuffix(name, "/NOTES.txt") {
			out.notes = text
			delete(files, name)
		}
	}
	hooks, manifests, err := releaseutil.SortManifests(files, nil, releaseutil.InstallOrder)
	if err != nil {
		return rendered{}, fmt.Errorf("sort objects: %w", err)
	}
	if len(hooks) > 0 {
		return rendered{}, errors.New("the chart has hooks, which plain manifests cannot have")
	}
	for _, m := range manifests {
		out.objects = append(out.objects, strings.TrimSpace(m.Content)+"\n")
	}
	if len(out.objects) == 0 {
		return rendered{}, fmt.Errorf("chart %s renders nothing", loaded.Name())
	}
	return out, nil
}

// document is the objects as one file.
func (r rendered) document() []byte {
	var b bytes.Buffer
	for _, o := range r.objects {
		b.WriteString("---\n")
		b.WriteString(strings.TrimPrefix(o, "---\n"))
	}
	return b.Bytes()
}
