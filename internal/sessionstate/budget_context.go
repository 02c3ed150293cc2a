package sessionstate

import "context"

type budgetKey struct{}

// WithBudget returns a context that has a Budget. A server that has several
// transports share one account puts it into http.Server.BaseContext, where each
// of them looks for it: it has no place in their Configs, which are public.
func WithBudget(ctx context.Context, b *Budget) context.Context {
	return context.WithValue(ctx, budgetKey{}, b)
}

// BudgetOf returns the Budget of a context, or nil.
func BudgetOf(ctx context.Context) *Budget {
	b, _ := ctx.Value(budgetKey{}).(*Budget)
	return b
}
