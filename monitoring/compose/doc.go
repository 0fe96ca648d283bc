// Package compose holds the tests of docker-compose.yml that need no container
// engine: the file is read as Docker Compose reads it, and held against what
// the documents promise of it.
package compose
