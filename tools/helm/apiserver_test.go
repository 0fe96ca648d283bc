//go:build kubernetes

package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"sigs.k8s.io/yaml"
)

// hang bounds a start that does not come to its end; nothing is measured by it.
const hang = 5 * time.Minute

// apiServer is a real kube-apiserver on a real etcd, with nobody behind them: it takes
// objects, or refuses them, and nothing runs.
type apiServer struct {
	config   *rest.Config
	client   dynamic.Interface
	warnings *warnings
}

// warnings are what the server answered besides its answers.
type warnings struct {
	mu  sync.Mutex
	all []string
}

func (w *warnings) HandleWarningHeader(_ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, text)
}

func (w *warnings) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.all
	w.all = nil
	return all
}

// startAPIServer starts both, from the folder that tools/kubernetes.sh prints.
func startAPIServer(t *testing.T) *apiServer {
	t.Helper()
	binaries := os.Getenv("VIGIE_KUBERNETES")
	if binaries == "" {
		t.Fatal("VIGIE_KUBERNETES names no folder with kube-apiserver and etcd: make test-kubernetes builds them")
	}
	folder := t.TempDir()
	client, peer, port := freeAddress(t), freeAddress(t), freeAddress(t)
	start(t, filepath.Join(binaries, "etcd"), "--data-dir="+filepath.Join(folder, "etcd"), "--unsafe-no-fsync",
		"--listen-client-urls=http://"+client, "--advertise-client-urls=http://"+client, "--listen-peer-urls=http://"+peer,
		"--initial-advertise-peer-urls=http://"+peer, "--initial-cluster=default=http://"+peer, "--log-level=error")
	token := rand.Text()
	write(t, filepath.Join(folder, "tokens.csv"), []byte(token+`,admin,1,"system:masters"`+"\n"))
	key := accountKey(t)
	write(t, filepath.Join(folder, "accounts.key"), key)
	_, securePort, _ := net.SplitHostPort(port)
	start(t, filepath.Join(binaries, "kube-apiserver"), "--etcd-servers=http://"+client, "--bind-address=127.0.0.1", "--secure-port="+securePort,
		"--cert-dir="+filepath.Join(folder, "certs"), "--token-auth-file="+filepath.Join(folder, "tokens.csv"), "--authorization-mode=RBAC",
		"--service-account-issuer=https://localhost", "--service-account-key-file="+filepath.Join(folder, "accounts.key"),
		"--service-account-signing-key-file="+filepath.Join(folder, "accounts.key"), "--service-cluster-ip-range=10.0.0.0/24",
		// Nobody is there who would make the accounts that pods name.
		"--disable-admission-plugins=ServiceAccount")
	s := &apiServer{warnings: &warnings{}}
	s.config = &rest.Config{
		Host: "https://" + port, BearerToken: token, TLSClientConfig: rest.TLSClientConfig{Insecure: true}, // a certificate of this minute, on loopback
		WarningHandler: s.warnings, QPS: -1,
	}
	s.waitUntilReady(t)
	var err error
	if s.client, err = dynamic.NewForConfig(s.config); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *apiServer) waitUntilReady(t *testing.T) {
	t.Helper()
	client, err := rest.HTTPClientFor(s.config)
	if err != nil {
		t.Fatal(err)
	}
	wait(t, "kube-apiserver is ready", func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.config.Host+"/readyz", nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		if response.StatusCode != http.StatusOK {
			return errors.New(response.Status)
		}
		return nil
	})
}

// apply has the server take an object as kubectl apply --server-side does, and
// returns it as it is then.
func (s *apiServer) apply(ctx context.Context, namespace string, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	resource, err := s.resource(namespace, o.GroupVersionKind())
	if err != nil {
		return nil, err
	}
	text, err := yaml.Marshal(o.Object)
	if err != nil {
		return nil, err
	}
	return resource.Patch(ctx, o.GetName(), types.ApplyPatchType, text, metav1.PatchOptions{FieldManager: "vigie", FieldValidation: metav1.FieldValidationStrict})
}

func (s *apiServer) resource(namespace string, kind schema.GroupVersionKind) (dynamic.ResourceInterface, error) {
	asked, err := discovery.NewDiscoveryClientForConfig(s.config)
	if err != nil {
		return nil, err
	}
	groups, err := restmapper.GetAPIGroupResources(asked)
	if err != nil {
		return nil, err
	}
	mapping, err := restmapper.NewDiscoveryRESTMapper(groups).RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return nil, err
	}
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		return s.client.Resource(mapping.Resource), nil
	}
	return s.client.Resource(mapping.Resource).Namespace(namespace), nil
}

// start runs a server until the test ends, and shows what it wrote where the test
// fails.
func start(t *testing.T, name string, args ...string) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), filepath.Base(name)+".log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // what it has stored goes with the folder
		_ = cmd.Wait()
		_ = log.Close()
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("%s:\n%s", filepath.Base(name), text[max(0, len(text)-4000):])
		}
	})
}

func wait(t *testing.T, until string, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain until %s: %v", until, err)
		case <-tick.C:
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func accountKey(t *testing.T) []byte {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

func write(t *testing.T, file string, text []byte) {
	t.Helper()
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
