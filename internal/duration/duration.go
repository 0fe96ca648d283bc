// Package duration is how the command's settings say how long: 90m and 1.5s as
// Go writes them, and 90d, 2w or 1d12h as Prometheus does.
package duration

import (
	"errors"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"github.com/urfave/cli/v3"
)

// ErrText: a text does not say how long.
var ErrText = errors.New("want how long, such as 500ms, 30s, 90m, 12h, 90d or 2w")

// Flag is a flag that takes a duration. Its value is read with
// [cli.Command.Duration].
type Flag = cli.FlagBase[time.Duration, cli.NoConfig, value]

// Parse reads a duration that is not negative. A day has 24 hours, a week seven
// days, a year 365. The error is [ErrText].
func Parse(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		var long model.Duration
		long, err = model.ParseDuration(text)
		d = time.Duration(long)
	}
	if err != nil || d < 0 {
		return 0, ErrText
	}
	return d, nil
}

// Text writes a duration as briefly as [Parse] reads it.
func Text(d time.Duration) string {
	if day := 24 * time.Hour; d >= day && d%day == 0 {
		return strconv.Itoa(int(d/day)) + "d" // 35d is plainer than 5w
	}
	brief := model.Duration(d).String()
	if back, err := Parse(brief); err != nil || back != d { // it knows no microseconds
		return d.String()
	}
	return brief
}

// value is a duration as urfave/cli wants one.
type value time.Duration

// Create implements [cli.ValueCreator].
func (value) Create(initial time.Duration, at *time.Duration, _ cli.NoConfig) cli.Value {
	*at = initial
	return (*value)(at)
}

// ToString implements [cli.ValueCreator].
func (value) ToString(d time.Duration) string { return Text(d) }

// Set implements [flag.Value].
func (v *value) Set(text string) error {
	d, err := Parse(text)
	if err == nil {
		*v = value(d)
	}
	return err
}

// Get implements [flag.Getter].
func (v *value) Get() any { return time.Duration(*v) }

// String implements [flag.Value].
func (v *value) String() string { return Text(time.Duration(*v)) }
