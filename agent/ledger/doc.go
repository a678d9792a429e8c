// Package ledger makes deltas of nlbwmon's rows: every byte nlbwmon counted is
// delivered once, and what cannot be known is declared a gap, never guessed.
//
// A Ledger is the usage.Sink of a reading of nlbwmon's table; Observe then
// books the reading as a look and answers what was counted since the last one.
// It has no I/O, no clock and no goroutine of its own. Time is time since
// boot, so deltas can be stamped before the wall clock is right; rows are kept
// by State and Restore over a restart of the agent.
//
// What it is told must be true of the rows: the instant is when the snapshot
// was written, not read; Daemon names the life of nlbwmon that counted them;
// ClockBack tells of a clock that was set back. Where two explanations fit,
// the one that counts less is taken and the span of the look is a gap.
//
//	what happened                    what the ledger does                          what can be lost
//	a row grew                       the difference                                nothing
//	a row is new                     all of it                                     nothing
//	a key comes twice in a table     the rows are added first                      nothing
//	a MAC changed in mid-flow        two rows, each its difference                 nothing
//	first look ever                  the table is the past, nothing is booked      what came before
//	period change                    the rest from the closed file, new from zero  nothing
//	  open flows inserted again      their connections count in both periods, as nlbwmon has it
//	  the file is gone, damaged,     what is proved; gap Tail                      the old period's rest
//	    older, or beside another
//	  several periods meanwhile      each file not there before, from zero         nothing
//	  a file not newer than the one  a copy of that one's table: its period never  nothing
//	    before it                    began; gap Ambiguous if both are of an instant
//	  the socket does not answer,    the old file decides: if the table cannot     at most the look
//	    and no row was set back      have grown from it, it was emptied; else
//	                                 differences and gap Ambiguous
//	  not to be read now             ErrAgain, then gap Unread                     what the file had
//	nlbwmon restarted, always a gap: differences, a row set back is not booked     what it had not saved; what
//	  all it saved was below the     (from a save after the last look or before,   grew up to the last look's
//	  table at the last look         either way only new bytes lie above)          row again
//	  anything may be its origin     the larger of last look and files             also what grew up to the file
//	  last look was 0.db, rows are   not from 0.db: the file's row, or zero        the rest before
//	    missing, table not full
//	  0.db may be of the old period  nothing is booked                             the span
//	the router rebooted, always a    base: each file the table can have grown      what no commit kept, and what
//	  gap                            from; else zero                               a later commit has already
//	  nlbwmon restarted after that   nothing is booked                             the span
//	    too, or the table is full
//	table full, a row is missing     a row set back or new is from zero; gap Limit rows written and overwritten
//	table full, a row stood still    nothing was overwritten: differences          nothing
//	  and none is missing
//	emptied, the period unchanged    from zero; gap Hidden                         the rest before
//	the clock was set back           no file proves anything until the next look   a closed period's rest
//	only the clock named the period  no file proves anything until the socket      a closed period's rest
//	  (first look, or set back)      has named it
//	the clock is behind the period   the period stays: in a life it only grows     nothing
//	the state was lost, same boot    the table is the base; gap StateLost          the span
//	more than the link can carry     kept apart as quarantined, never dropped      nothing
//	rows not newer than the last     ErrStale, nothing changes                     nothing
//
// If the daemon's life is not known, restarts are assumed where they could
// explain the rows and count less; one that sets nothing back is not seen.
//
// AskSocket says when the socket is worth its price. With it, of clean changes
// of period in the simulated histories 0.1 % are declared a gap; without 30 %
// are, and 88 % where the socket never answers.
//
// What the ledger cannot see at all: a row that was overwritten and came back
// with the very bytes it had; a period change hidden by a clock set back so
// that no row shows it; a file that nlbwmon began with and that was deleted
// before the next look; a file that appears after nlbwmon began without one
// and that it then merges into its table.
//
// Memory is two tables of 72 bytes a row and their indexes; at a period change
// and at a restart the files are held besides for the length of the call.
package ledger
