//go:build kubernetes

package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// A real API server takes every object of every variant, where pods have to be
// restricted: it refuses nothing, warns of nothing, keeps every field as it was given,
// and adds those that are known. What is then rendered for a newer chart and image is
// taken over it.
func TestAPIServerTakesEverything(t *testing.T) {
	server := startAPIServer(t)
	loadCRDs(t, server)
	added := map[string]bool{}
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			begin := time.Now()
			namespace := "restricted-" + v.name
			createNamespace(t, server, namespace)
			out := renderVariant(t, v.name)
			applyAll(t, server, namespace, objects(t, out), added)
			t.Logf("%d objects are applied without a warning after %v", len(out.objects), time.Since(begin).Round(time.Millisecond))
			applyPods(t, server, namespace, out)
			applyAll(t, server, namespace, objects(t, newer(out)), nil)
		})
	}
	compare(t, filepath.Join("testdata", "defaults.golden.txt"), []byte(strings.Join(slices.Sorted(maps.Keys(added)), "\n")+"\n"))
}

// The checks above find what they are to find.
func TestAPIServerRefuses(t *testing.T) {
	server := startAPIServer(t)
	createNamespace(t, server, "restricted")
	for name, text := range map[string]string{
		"an unknown field": "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {prots: []}\n",
		"a value":          "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 70000}]}\n",
		"a pod as root":    "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: a}]}\n",
	} {
		for _, o := range objects(t, rendered{objects: []string{text}}) {
			if _, err := server.apply(t.Context(), "restricted", o); err == nil {
				t.Errorf("%s is taken", name)
			}
		}
	}
	deployment := "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n  selector: {matchLabels: {a: b}}\n" +
		"  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: a}]}}\n"
	for _, o := range objects(t, rendered{objects: []string{deployment}}) {
		if _, err := server.apply(t.Context(), "restricted", o); err != nil {
			t.Fatal(err)
		}
	}
	if all := server.warnings.take(); len(all) == 0 {
		t.Error("no warning about a Deployment whose pods would be refused")
	}
}

func applyAll(t *testing.T, server *apiServer, namespace string, all []*unstructured.Unstructured, added map[string]bool) {
	t.Helper()
	for _, o := range all {
		what := o.GetKind() + " " + o.GetName()
		got, err := server.apply(t.Context(), namespace, o)
		if err != nil {
			t.Errorf("%s is refused: %v", what, err)
			continue
		}
		for _, w := range server.warnings.take() {
			t.Errorf("%s: a warning: %s", what, w)
		}
		compareObjects(t, what, o.GetKind(), "", o.Object, got.Object, added)
	}
}

// compareObjects reports what the server has not kept as it was given, and notes what it
// has added, by kind and path.
func compareObjects(t *testing.T, what, kind, path string, given, kept any, added map[string]bool) {
	t.Helper()
	switch given := given.(type) {
	case map[string]any:
		there, ok := kept.(map[string]any)
		if !ok {
			t.Errorf("%s: %s is %v, given was a map", what, path, kept)
			return
		}
		for name, value := range given {
			if _, ok := there[name]; !ok && !empty(value) {
				t.Errorf("%s: %s.%s is dropped", what, path, name)
				continue
			}
			compareObjects(t, what, kind, path+"."+name, value, there[name], added)
		}
		for name, value := range there {
			if _, ok := given[name]; !ok && added != nil && !servers(path+"."+name) {
				added[fmt.Sprintf("%s %s.%s = %v", kind, strings.TrimPrefix(path, "."), name, brief(value))] = true
			}
		}
	case []any:
		there, ok := kept.([]any)
		if len(there) < len(given) || !ok && len(given) > 0 {
			t.Errorf("%s: %s is %v, given was %v", what, path, kept, given)
			return
		}
		for _, more := range there[len(given):] {
			if added != nil {
				added[fmt.Sprintf("%s %s[] = %v", kind, strings.TrimPrefix(path, "."), brief(more))] = true
			}
		}
		for i := range given {
			compareObjects(t, what, kind, path+"[]", given[i], there[i], added)
		}
	default:
		if fmt.Sprint(given) != fmt.Sprint(kept) && !sameQuantity(given, kept) && given != nil {
			t.Errorf("%s: %s is %v, given was %v", what, path, kept, given)
		}
	}
}

// servers says whether a field is the server's own word, and no default.
func servers(path string) bool {
	return regexp.MustCompile(`^\.(status|metadata\.(uid|resourceVersion|creationTimestamp|generation|managedFields|namespace))\b|^\.spec\.(clusterIPs?|nodePort)$`).MatchString(path)
}

func brief(value any) string {
	text := fmt.Sprint(value)
	return regexp.MustCompile(`10\.0\.0\.\d+`).ReplaceAllString(text, "…")
}

func empty(value any) bool {
	switch value := value.(type) {
	case nil:
		return true
	case map[string]any:
		return len(value) == 0
	case []any:
		return len(value) == 0
	default:
		return false
	}
}

func sameQuantity(given, kept any) bool {
	a, errA := resource.ParseQuantity(fmt.Sprint(given))
	b, errB := resource.ParseQuantity(fmt.Sprint(kept))
	return errA == nil && errB == nil && a.Cmp(b) == 0
}

// applyPods has the server take a pod of each template: nobody makes them of the
// workloads here, and it is pods that the restricted standard refuses.
func applyPods(t *testing.T, server *apiServer, namespace string, out rendered) {
	t.Helper()
	for _, o := range objects(t, out) {
		template, found, err := unstructured.NestedMap(o.Object, "spec", "template")
		if err != nil || !found {
			continue
		}
		pod := &unstructured.Unstructured{Object: template}
		pod.SetAPIVersion("v1")
		pod.SetKind("Pod")
		pod.SetName(o.GetName() + "-0")
		spec := pod.Object["spec"].(map[string]any)
		if o.GetKind() == "StatefulSet" { // whose volume its controller would add
			spec["volumes"] = append(spec["volumes"].([]any), map[string]any{"name": "data", "persistentVolumeClaim": map[string]any{"claimName": "data-" + pod.GetName()}})
		}
		applyAll(t, server, namespace, []*unstructured.Unstructured{pod}, nil)
	}
}

// newer is the same release by a newer chart, with a newer image.
func newer(out rendered) rendered {
	replace := strings.NewReplacer("vigie-0.1.0", "vigie-9.9.9", "vigie:local", "vigie:newer", `version: "local"`, `version: "newer"`)
	var next rendered
	for _, text := range out.objects {
		next.objects = append(next.objects, replace.Replace(text))
	}
	return next
}

func createNamespace(t *testing.T, server *apiServer, name string) {
	t.Helper()
	const level = "pod-security.kubernetes.io/"
	applyAll(t, server, "", []*unstructured.Unstructured{{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace",
		"metadata": map[string]any{"name": name, "labels": map[string]any{level + "enforce": "restricted", level + "warn": "restricted"}},
	}}}, nil)
}

// loadCRDs has the server know prometheus-operator's objects.
func loadCRDs(t *testing.T, server *apiServer) {
	t.Helper()
	folder := filepath.Join(os.Getenv("VIGIE_KUBERNETES"), "crds")
	for _, kind := range []string{"servicemonitors", "prometheusrules"} {
		for _, o := range objects(t, rendered{objects: []string{string(read(t, filepath.Join(folder, "monitoring.coreos.com_"+kind+".yaml")))}}) {
			if _, err := server.apply(t.Context(), "", o); err != nil {
				t.Fatal(err)
			}
		}
	}
	server.warnings.take() // of the definitions, which are not ours
	for _, kind := range []string{"ServiceMonitor", "PrometheusRule"} {
		probe := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "monitoring.coreos.com/v1", "kind": kind}}
		wait(t, kind+" is known", func(ctx context.Context) error {
			known, err := server.resource("default", probe.GroupVersionKind())
			if err != nil {
				return err
			}
			_, err = known.List(ctx, metav1.ListOptions{})
			return err
		})
	}
}
