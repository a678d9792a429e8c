// Package sqlitetable reads the rows of a table in a SQLite database file, row
// by row and without an SQL engine, so that it also runs where no Go port of
// SQLite does, as on 32-bit MIPS of either byte order.
//
// Begin with [Open], look at [DB.Tables], walk with [DB.Rows]:
//
//	rows, err := db.Rows("traffic")
//	...
//	for rows.Next() {
//		mac, ok := rows.Values()[0].Text()
//		...
//	}
//	if err := rows.Err(); err != nil { // the rows before it are good
//
// The file is never written. Between Open and Close it is locked as an SQLite
// reader locks it, so a writer may have to wait: close soon. Changes that were
// committed to the write-ahead log are seen, unfinished ones are not. If the
// file system knows no locks, a change made meanwhile ends the walk with
// [ErrChanged].
//
// Nothing here panics on hostile input or trusts a size found in a file: memory
// is a page for each level of the tree, one row of at most [MaxRow] bytes, the
// table definitions, and eight bytes for each page in the write-ahead log.
//
// Do not use it in a process that has the same file open through another SQLite
// library: POSIX drops that library's locks when any descriptor of the file is
// closed.
//
// The layout is that of https://sqlite.org/fileformat2.html, cited by section.
package sqlitetable
