package sqlitetable

import (
	"fmt"
	"slices"
	"strings"
)

const (
	maxTables    = 1000
	maxSchemaSQL = 1 << 18 // bytes of all definitions together
)

// Column is a column whose values are in the file.
type Column struct {
	Name string
	Type string // as declared, "" if it was not
}

// Table is a table, or something that looks like one.
type Table struct {
	Name string
	// Columns are those stored, as Rows.Values has them. A generated column
	// that is VIRTUAL exists only in an SQL engine and is not among them.
	Columns []Column
	RowID   int   // the column that stands for the rowid, -1 if none does
	Err     error // why its rows cannot be read: a view, for instance
}

// entry is a table as the schema has it.
type entry struct {
	name string
	root uint32
	def  definition
	err  error
}

// schemaDef is sqlite_schema (section 2.6).
var schemaDef = definition{
	columns: []column{
		{Column: Column{Name: "type", Type: "TEXT"}},
		{Column: Column{Name: "name", Type: "TEXT"}},
		{Column: Column{Name: "tbl_name", Type: "TEXT"}},
		{Column: Column{Name: "rootpage", Type: "INT"}},
		{Column: Column{Name: "sql", Type: "TEXT"}},
	},
	rowID: -1,
}

// readSchema collects the tables and views. What it read before a fault stays.
func (db *DB) readSchema() error {
	rows := db.newRows("sqlite_schema", 1, schemaDef)
	size := 0
	for rows.Next() {
		v := rows.Values()
		kind, _ := v[0].Text()
		name, _ := v[1].Text()
		root, _ := v[3].Int()
		sql, _ := v[4].Text()
		size += len(sql)
		if len(db.tables) == maxTables || size > maxSchemaSQL {
			return &DataError{Kind: ErrTooLarge, Detail: fmt.Sprintf("over %d tables or %d bytes of schema", maxTables, maxSchemaSQL)}
		}
		switch kind {
		case "table":
			e := entry{name: name, root: uint32(root)}
			e.def, e.err = parseCreateTable(sql)
			if e.err == nil && (root < 1 || root > int64(db.pager.pages)) {
				e.err = damaged(0, "its root is page %d", root)
			}
			db.tables = append(db.tables, e)
		case "view":
			db.tables = append(db.tables, entry{name: name, err: &DataError{Kind: ErrView}})
		}
	}
	return rows.Err()
}

// Tables lists tables and views in the order of the schema, without SQLite's
// own, and without those behind a damaged part of the schema.
func (db *DB) Tables() []Table {
	var list []Table
	for i := range db.tables {
		e := &db.tables[i]
		if strings.HasPrefix(e.name, "sqlite_") {
			continue
		}
		t := Table{Name: e.name, RowID: e.def.rowID, Err: named(e.err, e.name)}
		if e.err != nil {
			t.RowID = -1
		}
		for _, c := range e.def.columns {
			t.Columns = append(t.Columns, c.Column)
		}
		list = append(list, t)
	}
	return list
}

// Rows begins to read a table, whose name may differ in the case of letters.
// Several walks may go on at the same time.
func (db *DB) Rows(table string) (*Rows, error) {
	i := slices.IndexFunc(db.tables, func(e entry) bool { return equalFold(e.name, table) })
	switch {
	case i >= 0 && db.tables[i].err != nil:
		return nil, named(db.tables[i].err, table)
	case i >= 0:
		e := &db.tables[i]
		r := db.newRows(e.name, e.root, e.def)
		return r, nil
	case db.schemaErr != nil:
		return nil, db.schemaErr
	}
	return nil, &DataError{Kind: ErrNoTable, Table: table}
}

// named adds the table's name to an error.
func named(err error, table string) error {
	if data, ok := err.(*DataError); ok {
		e := *data
		e.Table = table
		return &e
	}
	return err
}
