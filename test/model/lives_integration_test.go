//go:build integration

package model_test

// runs is how many lives are lived unless -rapid.checks says otherwise: enough for
// nearly every fix that the model knows of to be missed where it is taken out.
const runs = "200"
