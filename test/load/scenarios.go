// Package load has the scenarios of `vigie load`: a file each, of settings under the
// names of the command's flags. They are embedded, and files of the same form can be
// given by their paths.
//
// The folder k6 has the HTTP part of a load for those who have k6.
package load

import "embed"

// Scenarios are the files, under their names.
//
//go:embed *.yaml
var Scenarios embed.FS
