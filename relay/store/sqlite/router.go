package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store"
)

const routerColumns = `id, name, model, release, arch, timezone, agent_version,
	enrolled_at, last_seen, connected, revoked_at, rotate_overlap IS NOT NULL`

// scanRouter reads routerColumns from one row.
func scanRouter(scan func(...any) error) (store.Router, error) {
	var r store.Router
	var enrolled, seen, revoked int64
	err := scan(&r.ID, &r.Name, &r.Model, &r.Release, &r.Arch, &r.Timezone, &r.AgentVersion,
		&enrolled, &seen, &r.Connected, &revoked, &r.Rotate)
	r.EnrolledAt, r.LastSeen, r.RevokedAt = moment(enrolled), moment(seen), moment(revoked)
	return r, err
}

// Router implements store.Store.
func (db *DB) Router(ctx context.Context, id usage.RouterID) (store.Router, error) {
	row := db.read.QueryRowContext(ctx, "SELECT "+routerColumns+" FROM routers WHERE id = ?", id)
	r, err := scanRouter(row.Scan)
	return r, missing(err, "router %s is not enrolled here", id.Short())
}

// routerOrder is the ORDER BY of a sort: these texts alone enter the query.
func routerOrder(sort store.RouterSort) (string, error) {
	switch sort {
	case "", store.ByName:
		return "name, id", nil
	case store.BySeen:
		return "last_seen DESC, id", nil
	case store.ByEnrolled:
		return "enrolled_at DESC, id", nil
	}
	return "", usage.Errorf(usage.Invalid, "routers cannot be sorted by %q; choose name, last_seen or enrolled_at",
		usage.Clean(string(sort), 32))
}

// Routers implements store.Store.
func (db *DB) Routers(ctx context.Context, q store.RouterQuery) (_ []store.Router, total int, _ error) {
	order, err := routerOrder(q.Sort)
	if err != nil {
		return nil, 0, explain(err)
	}
	const where = ` FROM routers WHERE substr(id, 1, length(?1)) = ?1
		AND (?2 IS NULL OR id IN (SELECT value FROM json_each(?2)))`
	var among any
	if q.Among != nil {
		text, err := json.Marshal(q.Among)
		if err != nil {
			return nil, 0, explain(err)
		}
		among = string(text)
	}
	if err := db.read.QueryRowContext(ctx, "SELECT count(*)"+where, q.Prefix, among).Scan(&total); err != nil {
		return nil, 0, explain(err)
	}
	limit := q.Limit
	if limit == 0 {
		limit = -1 // SQLite's word for none
	}
	rows, err := db.read.QueryContext(ctx, "SELECT "+routerColumns+where+" ORDER BY "+order+" LIMIT ?3 OFFSET ?4",
		q.Prefix, among, limit, q.Offset)
	if err != nil {
		return nil, 0, explain(err)
	}
	defer rows.Close()
	var list []store.Router
	for rows.Next() {
		r, err := scanRouter(rows.Scan)
		if err != nil {
			return nil, 0, explain(err)
		}
		list = append(list, r)
	}
	return list, total, explain(rows.Err())
}

// nextRevision numbers a change; there is one writer at a time, so no number
// is given twice, and a reader never sees a higher one before a lower.
const nextRevision = "(SELECT coalesce(max(revision), 0) + 1 FROM routers)"

// RevokeRouter implements store.Store.
func (db *DB) RevokeRouter(ctx context.Context, id usage.RouterID, now time.Time) error {
	n, err := db.changed(ctx, `UPDATE routers SET revision = CASE revoked_at WHEN 0 THEN `+nextRevision+` ELSE revision END,
		revoked_at = CASE revoked_at WHEN 0 THEN ? ELSE revoked_at END WHERE id = ?`, millis(now), id)
	if err == nil && n == 0 {
		return usage.Errorf(usage.NotFound, "router %s is not enrolled here", id.Short())
	}
	return err
}

// Changes implements store.Store.
func (db *DB) Changes(ctx context.Context, since int64) ([]store.Change, error) {
	rows, err := db.read.QueryContext(ctx,
		`SELECT revision, id, secret_hash, next_hash, old_hash, revoked_at != 0, rotate_overlap IS NOT NULL
			FROM routers WHERE revision > ? ORDER BY revision`, since)
	if err != nil {
		return nil, explain(err)
	}
	defer rows.Close()
	var list []store.Change
	for rows.Next() {
		var c store.Change
		var hashes [3]sql.RawBytes
		if err := rows.Scan(&c.Revision, &c.ID, &hashes[0], &hashes[1], &hashes[2], &c.Revoked, &c.Rotate); err != nil {
			return nil, explain(err)
		}
		for _, hash := range hashes {
			if len(hash) == len(store.Hash{}) {
				c.Secrets = append(c.Secrets, store.Hash(hash))
			}
		}
		list = append(list, c)
	}
	return list, explain(rows.Err())
}

// Saw implements store.Store.
func (db *DB) Saw(ctx context.Context, sightings []store.Sighting) error {
	// All in one statement: a relay with 10,000 links says this every half minute.
	text := []byte("[")
	for i, s := range sightings {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(usage.AppendQuoted(append(text, '['), string(s.ID)), ',')
		text = strconv.AppendInt(text, millis(s.LastSeen), 10)
		text = append(strconv.AppendBool(append(text, ','), s.Connected), ']')
	}
	text = append(text, ']')
	return db.inTx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE routers SET last_seen = max(last_seen, seen.value ->> 1), connected = seen.value ->> 2
			FROM json_each(?) AS seen WHERE routers.id = seen.value ->> 0`, string(text))
		if err != nil {
			return err
		}
		facts, err := tx.PrepareContext(ctx, `UPDATE routers SET name = ?, model = ?, release = ?, arch = ?, timezone = ?,
			agent_version = ? WHERE id = ?`)
		if err != nil {
			return err
		}
		defer facts.Close()
		for _, s := range sightings {
			if f := s.Facts; f != nil {
				_, err := facts.ExecContext(ctx, f.Name, f.Model, f.Release, f.Arch, f.Timezone, f.AgentVersion, s.ID)
				if err != nil {
					return fmt.Errorf("router %s: %w", s.ID.Short(), err)
				}
			}
		}
		return nil
	})
}

// AllOffline implements store.Store.
func (db *DB) AllOffline(ctx context.Context) error {
	_, err := db.changed(ctx, "UPDATE routers SET connected = 0 WHERE connected != 0")
	return err
}
