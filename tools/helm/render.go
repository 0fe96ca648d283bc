package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"
	"helm.sh/helm/v4/pkg/strvals"
	"sigs.k8s.io/yaml"
)

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
