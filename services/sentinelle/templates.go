package sentinelle

import (
	"embed"
	"fmt"
	"html/template"
)

//go:embed web
var web embed.FS

// policy is the pages' Content-Security-Policy: everything comes from here.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// templates are the pages.
type templates struct {
	home *template.Template
}

func parseTemplates() (*templates, error) {
	home, err := template.ParseFS(web, "web/home.html")
	if err != nil {
		return nil, fmt.Errorf("parse the page: %w", err)
	}
	return &templates{home}, nil
}
