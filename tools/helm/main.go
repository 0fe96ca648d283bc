// Command helm renders the chart deploy/helm/vigie with Helm's own library, for who has Go and no Helm, and packs it:
//
//	go -C tools/helm run . -set kafka.brokers=kafka:9092 >vigie.yaml
//	go -C tools/helm run . -f values.yaml -name bank -namespace bank | kubectl apply -n bank --server-side -f -
//	go -C tools/helm run . -pack ../../bin
//
// It stands in a module of its own, so that the application does not require what Helm requires.
//
//   - main.go reads the command line.
//   - render.go renders the chart.
//
// The tests render the chart's variants and compare them with testdata/ and with deploy/kubernetes, refuse what cannot be meant
// so, and hold every object against Kubernetes' own types and its restricted security standard. Those behind the build tag
// kubernetes have a real API server take all of them.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
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
