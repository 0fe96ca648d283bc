package banking

func decodeOrderCreated(value []byte) (Event, error) {
	fields, err := readObject(value, "eventId", "orderId", "userId", "amount", "items", "status", "createdAt")
	r := eventReader{fields: fields, err: err}
	return r.result(OrderCreated{
		EventID:   r.text("eventId", MaxIDLength),
		OrderID:   r.text("orderId", MaxIDLength),
		UserID:    r.text("userId", MaxUserIDLength),
		Amount:    r.money("amount"),
		Items:     r.texts("items"),
		Status:    r.status(StatusCreated),
		CreatedAt: r.time("createdAt"),
	})
}

func decodePaymentAuthorized(value []byte) (Event, error) {
	fields, err := readObject(value, "eventId", "orderId", "userId", "amount", "status", "authorizationCode", "processedAt")
	r := eventReader{fields: fields, err: err}
	return r.result(PaymentAuthorized{
		EventID:           r.text("eventId", MaxIDLength),
		OrderID:           r.text("orderId", MaxIDLength),
		UserID:            r.text("userId", MaxUserIDLength),
		Amount:            r.money("amount"),
		Status:            r.status(StatusAuthorized),
		AuthorizationCode: r.text("authorizationCode", MaxIDLength),
		ProcessedAt:       r.time("processedAt"),
	})
}

func decodePaymentRejected(value []byte) (Event, error) {
	fields, err := readObject(value, "eventId", "orderId", "userId", "amount", "status", "rejectionReason", "processedAt")
	r := eventReader{fields: fields, err: err}
	return r.result(PaymentRejected{
		EventID:         r.text("eventId", MaxIDLength),
		OrderID:         r.text("orderId", MaxIDLength),
		UserID:          r.text("userId", MaxUserIDLength),
		Amount:          r.money("amount"),
		Status:          r.status(StatusRejected),
		RejectionReason: r.text("rejectionReason", MaxReasonLength),
		ProcessedAt:     r.time("processedAt"),
	})
}

// check holds the event against the rules that decoding it applies.
func (e OrderCreated) check() error {
	return firstError(
		checkCommon(e.EventID, e.OrderID, e.UserID, e.Amount),
		checkItems(e.Items),
		checkStatus(e.Status, StatusCreated),
		checkTime("createdAt", e.CreatedAt),
	)
}

func (e PaymentAuthorized) check() error {
	return firstError(
		checkCommon(e.EventID, e.OrderID, e.UserID, e.Amount),
		checkStatus(e.Status, StatusAuthorized),
		checkText("authorizationCode", e.AuthorizationCode, MaxIDLength),
		checkTime("processedAt", e.ProcessedAt),
	)
}

func (e PaymentRejected) check() error {
	return firstError(
		checkCommon(e.EventID, e.OrderID, e.UserID, e.Amount),
		checkStatus(e.Status, StatusRejected),
		checkText("rejectionReason", e.RejectionReason, MaxReasonLength),
		checkTime("processedAt", e.ProcessedAt),
	)
}
