package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v4/pkg/chart/common"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

// Every object of every variant is one that Kubernetes or prometheus-operator has: no
// field is unknown, misspelt, given twice or of another type.
func TestObjectsAreOfTheirTypes(t *testing.T) {
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			for _, text := range renderVariant(t, v.name).objects {
				if _, err := decode(t, text); err != nil {
					t.Errorf("%v in\n%s", err, text)
				}
			}
		})
	}
}

// The check above finds what it is to find.
func TestWrongObjectsAreFound(t *testing.T) {
	for _, text := range []string{
		"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {prots: []}\n",
		"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: web}]}\n",
		"apiVersion: v2\nkind: Service\nmetadata: {name: a}\n",
		"apiVersion: monitoring.coreos.com/v1\nkind: ServiceMonitor\nmetadata: {name: a}\nspec: {endpoint: []}\n",
	} {
		if _, err := decode(t, text); err == nil {
			t.Errorf("nothing wrong was found in\n%s", text)
		}
	}
}

// Every pod keeps the restricted standard, and what we ask beyond it.
func TestPodsAreRestricted(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range variants {
		for _, w := range workloads(t, renderVariant(t, v.name)) {
			t.Run(v.name+" "+w.name, func(t *testing.T) {
				spec := w.template.Spec
				for _, r := range evaluator.EvaluatePod(api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}, &w.template.ObjectMeta, &spec) {
					if !r.Allowed {
						t.Errorf("%s: %s", r.ForbiddenReason, r.ForbiddenDetail)
					}
				}
				if spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken {
					t.Error("a token of the service account is mounted")
				}
				if spec.EnableServiceLinks == nil || *spec.EnableServiceLinks {
					t.Error("other Services become variables")
				}
				for _, c := range spec.Containers {
					checkContainer(t, c)
				}
			})
		}
	}
}

func checkContainer(t *testing.T, c corev1.Container) {
	t.Helper()
	if s := c.SecurityContext; s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
		t.Error("its root can be written")
	}
	for _, resource := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		if c.Resources.Requests[resource] == (c.Resources.Requests["none"]) {
			t.Errorf("it requests no %s", resource)
		}
	}
	request, limit := c.Resources.Requests[corev1.ResourceMemory], c.Resources.Limits[corev1.ResourceMemory]
	if limit.Cmp(request) <= 0 {
		t.Errorf("Go's soft limit, %v, is not below the container's, %v", &request, &limit)
	}
	for probe, path := range map[*corev1.Probe]string{c.StartupProbe: "/health", c.LivenessProbe: "/health", c.ReadinessProbe: "/health/ready"} {
		if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != path {
			t.Errorf("a probe is %v, want GET %s", probe, path)
		}
	}
	if s := c.StartupProbe; s.PeriodSeconds*s.FailureThreshold < 1800 {
		t.Errorf("a start may take %d s only", s.PeriodSeconds*s.FailureThreshold)
	}
}

// No secret stands in an object: each is named, and reaches the container as a file
// or by reference.
func TestSecretsAreReferences(t *testing.T) {
	out := renderVariant(t, "everything")
	mounted := map[string]bool{}
	for _, w := range workloads(t, out) {
		for _, v := range w.template.Spec.Volumes {
			if v.Secret != nil {
				mounted[v.Secret.SecretName] = true
				if v.Secret.DefaultMode == nil || *v.Secret.DefaultMode&0o007 != 0 {
					t.Errorf("%s: everybody may read %s", w.name, v.Name)
				}
			}
		}
		for _, e := range w.template.Spec.Containers[0].Env {
			if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
				mounted[e.ValueFrom.SecretKeyRef.Name] = true
			}
		}
	}
	for _, name := range []string{"kafka-cluster-ca-cert", "vigie-user", "vigie-db-app", "vigie-db-ca", "vigie-tls", "vigie-tokens", "sentinelle-token", "vigie-probe", "otlp-headers"} {
		if !mounted[name] {
			t.Errorf("secret %s reaches nothing", name)
		}
	}
	for _, o := range objects(t, out) {
		if o.GetKind() == "Secret" {
			t.Errorf("the chart makes the secret %s", o.GetName())
		}
	}
}

// The token for probes reaches those two alone that need it, as the file that each is told of.
func TestTheTokenForProbesReachesTwo(t *testing.T) {
	out := renderVariant(t, "everything")
	settings := map[string]map[string]string{}
	for _, o := range objects(t, out) {
		if c, ok := mustDecode(t, o).(*corev1.ConfigMap); ok {
			settings[c.Name] = c.Data
		}
	}
	for _, w := range workloads(t, out) {
		service := strings.TrimPrefix(w.name, "vigie-")
		var file string
		for _, m := range w.template.Spec.Containers[0].VolumeMounts {
			if m.Name == "probe-token" {
				file = m.MountPath + "/token"
			}
		}
		needs := service == "commande" || service == "sentinelle"
		if told := settings[w.name][strings.ToUpper(service)+"_PROBE_TOKEN_FILE"]; (file != "") != needs || told != file {
			t.Errorf("%s has the token in %q and is told of %q", service, file, told)
		}
	}
}

// Each selector finds the pods of its own service and no others.
func TestSelectorsFindTheirPods(t *testing.T) {
	for _, v := range variants {
		out := renderVariant(t, v.name)
		all := workloads(t, out)
		for _, o := range objects(t, out) {
			var selector map[string]string
			switch typed := mustDecode(t, o).(type) {
			case *corev1.Service:
				selector = typed.Spec.Selector
			case *policyv1.PodDisruptionBudget:
				selector = typed.Spec.Selector.MatchLabels
			case *networkingv1.NetworkPolicy:
				selector = typed.Spec.PodSelector.MatchLabels
			default:
				continue
			}
			var found []string
			for _, w := range all {
				if labels.SelectorFromSet(selector).Matches(labels.Set(w.template.Labels)) {
					found = append(found, w.name)
				}
			}
			if want := strings.TrimSuffix(o.GetName(), "-instances"); !slices.Equal(found, []string{want}) {
				t.Errorf("%s: %s %s selects %v", v.name, o.GetKind(), o.GetName(), found)
			}
		}
	}
}

// One instance on a volume, several on PostgreSQL with what keeps some of them up.
func TestStateDecidesTheKind(t *testing.T) {
	for name, want := range map[string]string{"bank": "StatefulSet", "postgres": "Deployment"} {
		out := renderVariant(t, name)
		budgets := 0
		for _, o := range objects(t, out) {
			if o.GetKind() == "PodDisruptionBudget" {
				budgets++
			}
		}
		for _, w := range workloads(t, out) {
			several := w.replicas == nil || *w.replicas > 1
			if w.kind != want || several != (name == "postgres") {
				t.Errorf("%s: %s is a %s of %v", name, w.name, w.kind, w.replicas)
			}
		}
		if (budgets == 5) != (name == "postgres") {
			t.Errorf("%s: %d budgets", name, budgets)
		}
	}
}

// The metrics keep their label service, and `up` gets it; the rules find their job.
func TestServiceMonitorKeepsLabels(t *testing.T) {
	for _, o := range objects(t, renderVariant(t, "everything")) {
		monitor, ok := mustDecode(t, o).(*monitoringv1.ServiceMonitor)
		if !ok {
			continue
		}
		e := monitor.Spec.Endpoints[0]
		targets := map[string]bool{}
		for _, r := range e.RelabelConfigs {
			targets[r.TargetLabel] = true
		}
		if !e.HonorLabels || !targets["service"] || !targets["job"] {
			t.Errorf("honorLabels %v, relabels %v", e.HonorLabels, targets)
		}
		return
	}
	t.Error("there is no ServiceMonitor")
}

// workload is a Deployment or a StatefulSet.
type workload struct {
	kind, name string
	replicas   *int32
	template   corev1.PodTemplateSpec
}

func workloads(t *testing.T, out rendered) []workload {
	t.Helper()
	var found []workload
	for _, o := range objects(t, out) {
		switch typed := mustDecode(t, o).(type) {
		case *appsv1.Deployment:
			found = append(found, workload{"Deployment", typed.Name, typed.Spec.Replicas, typed.Spec.Template})
		case *appsv1.StatefulSet:
			found = append(found, workload{"StatefulSet", typed.Name, typed.Spec.Replicas, typed.Spec.Template})
		}
	}
	if len(found) == 0 {
		t.Fatal("no workload")
	}
	return found
}

func objects(t *testing.T, out rendered) []*unstructured.Unstructured {
	t.Helper()
	var found []*unstructured.Unstructured
	for _, text := range out.objects {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		found = append(found, o)
	}
	return found
}

func mustDecode(t *testing.T, o *unstructured.Unstructured) runtime.Object {
	t.Helper()
	text, err := yaml.Marshal(o.Object)
	if err != nil {
		t.Fatal(err)
	}
	typed, err := decode(t, string(text))
	if err != nil {
		t.Fatal(err)
	}
	return typed
}

// decode reads an object strictly into its type.
func decode(t *testing.T, text string) (runtime.Object, error) {
	t.Helper()
	known := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, monitoringv1.AddToScheme} {
		if err := add(known); err != nil {
			t.Fatal(err)
		}
	}
	metav1.AddToGroupVersion(known, corev1.SchemeGroupVersion)
	o, _, err := serializer.NewCodecFactory(known, serializer.EnableStrict).UniversalDeserializer().Decode([]byte(text), nil, nil)
	if err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	return o, nil
}

func capabilities(t *testing.T) *common.Capabilities {
	t.Helper()
	c, err := kubernetes()
	if err != nil {
		t.Fatal(err)
	}
	return c
}
