package banking

// constError is an error that can be a constant, so that sentinels are immutable.
// Two of them are equal when their texts are, hence errors.Is works on them.
type constError string

// Error returns the text of the sentinel.
func (e constError) Error() string { return string(e) }

const (
	// ErrNotANumber says that the text is not a number literal of RFC 8259, section 6.
	ErrNotANumber = constError("not a JSON number")
	// ErrTooManyDecimals says that the value is not a whole number of cents.
	ErrTooManyDecimals = constError("more than two decimals")
	// ErrOutOfRange says that the value, in cents, does not fit in 64 bits.
	ErrOutOfRange = constError("amount out of range")
	// ErrMalformed says that an event breaks the wire contract: sending it again
	// cannot help, so its record belongs among the dead letters.
	ErrMalformed = constError("malformed event")
)

// FieldError says which field of a JSON document was refused and why.
//
// It never contains the refused value. Functions return it as *FieldError;
// use errors.As with a *FieldError target.
type FieldError struct {
	// Field is the member's name, or "" for the document itself.
	Field string
	// Problem completes the sentence "<field> …", for example "is missing".
	Problem string
	// Accepted describes what would have been accepted, for example "a JSON object".
	Accepted string
}

// Error returns one English sentence without a final full stop.
func (e *FieldError) Error() string {
	subject := e.Field
	if subject == "" {
		subject = "the document"
	}
	return subject + " " + e.Problem + "; accepted is " + e.Accepted
}
