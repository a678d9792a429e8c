// Package ledger makes deltas of nlbwmon's rows: every byte nlbwmon counted is
// delivered once, and what cannot be known is declared a gap, never guessed.
package ledger
