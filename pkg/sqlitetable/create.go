package sqlitetable

import (
	"fmt"
	"slices"
	"strings"
)

// maxColumns is SQLite's own default limit, SQLITE_MAX_COLUMN.
const maxColumns = 2000

// column is a column kept in the file, with what decoding it needs.
type column struct {
	Column
	real    bool  // an integer found here stands for a real number
	missing Value // in rows written before the column was added
}

// definition is what a CREATE TABLE statement says about the rows.
type definition struct {
	columns []column
	rowID   int // the column that is the rowid, -1 if there is none
}

// parser reads a CREATE TABLE statement as SQLite stores it, that is one which
// SQLite once accepted. It looks for what matters here and passes over the
// rest (https://sqlite.org/lang_createtable.html).
type parser struct {
	scanner
	tok token // not yet consumed
	def definition
}

func parseCreateTable(sql string) (definition, error) {
	p := &parser{scanner: scanner{sql: sql}, def: definition{rowID: -1}}
	p.advance()
	if err := p.head(); err != nil {
		return definition{}, err
	}
	if err := p.body(); err != nil {
		return definition{}, err
	}
	for ; p.tok.kind != tokenEnd; p.advance() { // STRICT changes no row
		if p.tok.word("WITHOUT") {
			return definition{}, &DataError{Kind: ErrWithoutRowID}
		}
	}
	if len(p.def.columns) == 0 {
		return definition{}, p.errorf("no stored column")
	}
	return p.def, nil
}

func (p *parser) advance() { p.tok = p.next() }

// take consumes a keyword if it is next.
func (p *parser) take(keyword string) bool {
	if !p.tok.word(keyword) {
		return false
	}
	p.advance()
	return true
}

func (p *parser) errorf(format string, args ...any) error {
	return &DataError{Kind: ErrSchema, Detail: fmt.Sprintf(format, args...) + fmt.Sprintf(" at byte %d", p.tok.start)}
}

// head consumes everything up to the opening parenthesis.
func (p *parser) head() error {
	if !p.take("CREATE") {
		return p.errorf("no CREATE")
	}
	if p.take("VIRTUAL") {
		return &DataError{Kind: ErrVirtual}
	}
	_ = p.take("TEMP") || p.take("TEMPORARY")
	if !p.take("TABLE") {
		return p.errorf("no TABLE")
	}
	if p.take("IF") {
		_ = p.take("NOT") && p.take("EXISTS")
	}
	for !p.tok.sign('(') { // name or schema.name
		if !p.tok.name() && !p.tok.sign('.') {
			return p.errorf("no list of columns")
		}
		p.advance()
	}
	p.advance()
	return nil
}

// body consumes columns and constraints and the closing parenthesis.
func (p *parser) body() error {
	for {
		if slices.ContainsFunc(tableConstraints, p.tok.word) {
			return p.constraints() // none but constraints can follow
		}
		if !p.tok.name() {
			return p.errorf("no column name")
		}
		if err := p.column(); err != nil {
			return err
		}
		switch {
		case p.tok.sign(','):
			p.advance()
		case p.tok.sign(')'):
			p.advance()
			return nil
		default:
			return p.errorf("list of columns does not end")
		}
	}
}

var (
	tableConstraints  = []string{"CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"}
	columnConstraints = []string{
		"CONSTRAINT", "PRIMARY", "NOT", "NULL", "UNIQUE", "CHECK", "DEFAULT", "COLLATE", "REFERENCES", "AS", "DEFERRABLE",
	}
)

// column consumes one column with its type and constraints.
func (p *parser) column() error {
	c := column{Column: Column{Name: p.tok.text}}
	p.advance()
	c.Type = p.columnType()
	affinity := affinityOf(c.Type)
	c.real = affinity == affinityReal
	virtual := false
	for !p.tok.sign(',') && !p.tok.sign(')') {
		switch {
		case p.tok.kind == tokenEnd:
			return p.errorf("column %q does not end", c.Name)
		case p.take("PRIMARY"):
			// "INTEGER PRIMARY KEY DESC" is no rowid, for an old bug's sake.
			if p.take("KEY") && !p.tok.word("DESC") && strings.EqualFold(c.Type, "INTEGER") {
				p.def.rowID = len(p.def.columns)
			}
		case p.take("SET"): // ON DELETE SET DEFAULT is no default
			p.advance()
		case p.take("DEFAULT"):
			c.missing = affinity.apply(p.literal())
		case p.take("AS"): // a generated column, VIRTUAL unless it says STORED
			p.group()
			virtual = !p.tok.word("STORED")
		default:
			p.group()
		}
	}
	if virtual {
		return nil
	}
	if len(p.def.columns) == maxColumns {
		return &DataError{Kind: ErrTooLarge, Detail: fmt.Sprintf("more than %d columns", maxColumns)}
	}
	p.def.columns = append(p.def.columns, c)
	return nil
}

// columnType consumes a type, any number of words and perhaps numbers in
// parentheses, and returns it as written.
func (p *parser) columnType() string {
	first, start, end := p.tok, p.tok.start, p.tok.start
	for p.tok.name() && !slices.ContainsFunc(columnConstraints, p.tok.word) {
		if p.tok.word("GENERATED") {
			if ahead := p.scanner; ahead.next().word("ALWAYS") {
				break
			}
		}
		end = p.tok.end
		p.advance()
	}
	if p.tok.sign('(') && end > start {
		end = p.group()
	}
	if first.kind == tokenQuoted {
		return first.text // and nothing behind it, as SQLite has it
	}
	return p.sql[start:end]
}

// group consumes one token, with all up to its closing parenthesis if it is an
// opening one, and returns where that ended.
func (p *parser) group() (end int) {
	for depth := 0; p.tok.kind != tokenEnd; {
		switch {
		case p.tok.sign('('):
			depth++
		case p.tok.sign(')'):
			depth--
		}
		end = p.tok.end
		p.advance()
		if depth <= 0 {
			break
		}
	}
	return end
}

// constraints consumes the table's constraints, looking for a primary key.
func (p *parser) constraints() error {
	for !p.tok.sign(')') {
		switch {
		case p.tok.kind == tokenEnd:
			return p.errorf("constraints do not end")
		case p.take("PRIMARY"):
			if p.take("KEY") && p.tok.sign('(') {
				p.primaryKey()
			}
		default:
			p.group()
		}
	}
	p.advance()
	return nil
}

// primaryKey looks whether PRIMARY KEY(x) has one column, declared INTEGER. In
// this form DESC makes no difference.
func (p *parser) primaryKey() {
	ahead := *p
	ahead.advance()
	name := ahead.tok
	for !ahead.tok.sign(')') {
		if ahead.tok.kind == tokenEnd || ahead.tok.sign(',') {
			return
		}
		ahead.group()
	}
	for i, c := range p.def.columns {
		if name.name() && equalFold(c.Name, name.text) && strings.EqualFold(c.Type, "INTEGER") {
			p.def.rowID = i
		}
	}
}

// equalFold compares names as SQLite does, without regard to the case of ASCII
// letters only.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		x, y := a[i], b[i]
		if x != y && (x|0x20 != y|0x20 || x|0x20 < 'a' || x|0x20 > 'z') {
			return false
		}
	}
	return true
}
