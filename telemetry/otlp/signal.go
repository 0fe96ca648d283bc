package otlp

import (
	"fmt"
	"net/url"
	"os"
	"strings"
)

const (
	exporterNone    = "none"
	exporterOTLP    = "otlp"
	exporterConsole = "console"

	protocolGRPC = "grpc"
	protocolHTTP = "http/protobuf"
)

// signal is what the environment says about traces or logs.
type signal struct {
	name string // for people, and in upper case in the names of variables
	path string // of the endpoint, where it is the one for all signals
}

func traces() signal { return signal{"traces", "/v1/traces"} }
func logs() signal   { return signal{"logs", "/v1/logs"} }

// exporterVariable is the variable that switches the signal on.
func (s signal) exporterVariable() string { return "OTEL_" + strings.ToUpper(s.name) + "_EXPORTER" }

// exporter returns the exporter's name, none where it is unset.
func (s signal) exporter() string {
	name := os.Getenv(s.exporterVariable())
	if strings.TrimSpace(name) == "" || strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return exporterNone
	}
	return name
}

// lookUp returns the signal's own value of a setting, else the one for all signals, and the variable it is from.
func (s signal) lookUp(setting string) (value, variable string) {
	own := "OTEL_EXPORTER_OTLP_" + strings.ToUpper(s.name) + "_" + setting
	if v := os.Getenv(own); v != "" {
		return v, own
	}
	all := "OTEL_EXPORTER_OTLP_" + setting
	return os.Getenv(all), all
}

func (s signal) protocol() string {
	if p, _ := s.lookUp("PROTOCOL"); p != "" {
		return p
	}
	return protocolHTTP
}

// usesDefaultEndpoint says whether OTLP goes to where the specification sends it by default.
func (s signal) usesDefaultEndpoint() bool {
	endpoint, _ := s.lookUp("ENDPOINT")
	insecure, _ := s.lookUp("INSECURE")
	return s.exporter() == exporterOTLP && endpoint == "" && insecure == ""
}

// endpoint returns the URL that OTLP goes to, without what could be a secret.
func (s signal) endpoint() string {
	value, variable := s.lookUp("ENDPOINT")
	if value == "" {
		return s.defaultEndpoint()
	}
	u, err := url.Parse(value)
	if err != nil {
		return ""
	}
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	if s.protocol() == protocolHTTP && !strings.Contains(variable, strings.ToUpper(s.name)) {
		shown = *shown.JoinPath(s.path)
	}
	return shown.String()
}

func (s signal) defaultEndpoint() string {
	scheme := "http://"
	if insecure, _ := s.lookUp("INSECURE"); insecure != "" && !strings.EqualFold(insecure, "true") {
		scheme = "https://"
	}
	if s.protocol() == protocolGRPC {
		return scheme + "localhost:4317"
	}
	return scheme + "localhost:4318" + s.path
}

// validate reports what would only show as spans that never arrive.
func (s signal) validate() error {
	switch name := s.exporter(); name {
	case exporterConsole:
		return nil
	case exporterOTLP:
	default:
		return fmt.Errorf("%s %q: want otlp, console or none", s.exporterVariable(), name)
	}
	if p := s.protocol(); p != protocolGRPC && p != protocolHTTP {
		_, variable := s.lookUp("PROTOCOL")
		return fmt.Errorf("%s %q: want %s or %s", variable, p, protocolHTTP, protocolGRPC)
	}
	value, variable := s.lookUp("ENDPOINT")
	if value == "" {
		return nil
	}
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("%s: want a URL such as http://localhost:4318", variable) // the value may hold a password
	}
	if u.User != nil {
		return fmt.Errorf("%s: names and passwords go into OTEL_EXPORTER_OTLP_HEADERS", variable)
	}
	return nil
}

func (s signal) destination() string {
	switch s.exporter() {
	case exporterNone:
		return ""
	case exporterConsole:
		return "the standard output"
	default:
		return fmt.Sprintf("%s (OTLP, %s)", s.endpoint(), s.protocol())
	}
}
