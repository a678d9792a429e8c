package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite", as in relay/store/sqlite

	"github.com/netpilot/netpilot/pkg/usage"
)

const (
	ingestLinks   = 1000
	ingestBuckets = 72   // of five minutes, that each router pushes in a turn
	bareBatch     = 1000 // messages in a transaction of the bare loop
)

// ingest compares the relay's storing of what 1,000 routers push with a bare
// loop, and asks for calls while it stores at half its limit.
func ingest(ctx context.Context, b *bench) error {
	one := *b
	one.network.Routers = min(ingestLinks, b.routers)
	one.routers = one.network.Routers
	rows := one.routers * one.network.Devices * ingestBuckets
	fmt.Printf("\n## Ingest\n\nRows stored a second, one for each device and five minutes: %d rows in a turn over %d links, acknowledged when durable, by real agent code on the same processors; "+
		"and a bare loop over the same rows, encoding/json and one row a device into modernc.org/sqlite, %d messages in a transaction, which has messages ready and no network. %d turns, medians, ratios turn by turn.\n\n",
		rows, one.routers, bareBatch, b.rounds)
	fmt.Println("| | rows/s | least | most |\n|---|---:|---:|---:|")
	var bare, ours, ratios []float64
	for range b.rounds {
		r, err := one.bareIngest(ctx)
		if err != nil {
			return fmt.Errorf("bare loop: %w", err)
		}
		bare = append(bare, r)
		if r, err = one.relayIngest(ctx); err != nil {
			return fmt.Errorf("relay: %w", err)
		}
		ours = append(ours, r)
		ratios = append(ratios, r/bare[len(bare)-1])
	}
	for _, line := range []struct {
		who  string
		all  []float64
		form string
	}{{"bare loop", bare, "%.0f"}, {"relay", ours, "%.0f"}, {"**ratio**", ratios, "%.2f"}} {
		slices.Sort(line.all)
		fmt.Printf("| %s | "+line.form+" | "+line.form+" | "+line.form+" |\n", line.who, line.all[len(line.all)/2], line.all[0], line.all[len(line.all)-1])
	}
	return one.callsMeanwhile(ctx, int(ours[len(ours)/2]/2))
}

// since is the argument that gives each router that many buckets.
func since(buckets int) string {
	return "--since=" + time.Now().Add(-time.Duration(buckets)*usage.FiveMinutes).Truncate(usage.FiveMinutes).Format(time.RFC3339)
}

// relayIngest has the fleet push all it has and says how many rows a second
// the relay stored.
func (b *bench) relayIngest(ctx context.Context) (float64, error) {
	stage, err := b.newStage(ctx, false, "--push=1h", "--at-once", since(ingestBuckets))
	if err != nil {
		return 0, err
	}
	defer stage.close()
	rows, seconds, err := stage.pushed()
	return rows / seconds, err
}

// pushed waits until the relay has all that the routers had.
func (s *stage) pushed() (rows, seconds float64, err error) {
	line, err := s.line("pushed ")
	if err != nil {
		return 0, 0, err
	}
	if _, err := fmt.Sscanf(line, "pushed %f rows in %f s", &rows, &seconds); err != nil {
		return 0, 0, fmt.Errorf("%q: %w", line, err)
	}
	if !strings.HasSuffix(line, " 0 refused") {
		return 0, 0, fmt.Errorf("not all went well: %s", line)
	}
	return rows, seconds, nil
}

// message is what the bare loop decodes.
type message struct {
	Router  string    `json:"router"`
	Start   int64     `json:"start"`
	Seconds int       `json:"seconds"`
	Devices []movedBy `json:"devices"`
}

type movedBy struct {
	MAC         string `json:"mac"`
	Rx          uint64 `json:"bytes_rx"`
	Tx          uint64 `json:"bytes_tx"`
	RxPackets   uint64 `json:"packets_rx"`
	TxPackets   uint64 `json:"packets_tx"`
	Connections uint64 `json:"connections"`
}

// bareIngest is the loop to be measured against. Making the messages is not
// counted.
func (b *bench) bareIngest(ctx context.Context) (_ float64, err error) {
	dir, err := os.MkdirTemp("", "netpilot-bare")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "bare.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, `CREATE TABLE moved (router TEXT, mac TEXT, start INTEGER, seconds INTEGER,
		rx INTEGER, tx INTEGER, rx_packets INTEGER, tx_packets INTEGER, conns INTEGER, PRIMARY KEY (router, mac, start)) WITHOUT ROWID`); err != nil {
		return 0, err
	}
	insert, err := db.PrepareContext(ctx, "INSERT OR REPLACE INTO moved VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
	if err != nil {
		return 0, err
	}
	defer insert.Close()
	n := b.network
	n.Since = time.Now().Add(-ingestBuckets * usage.FiveMinutes).Truncate(usage.FiveMinutes)
	var bucket usage.Bucket
	var took time.Duration
	rows := 0
	batch := make([][]byte, 0, bareBatch)
	for at := range ingestBuckets * n.Routers { // as they come: all routers' of one time, then the next
		n.Bucket(&bucket, at%n.Routers, uint64(at/n.Routers), usage.FiveMinutes)
		m := message{Router: string(n.ID(at % n.Routers)), Start: bucket.Start.Unix(), Seconds: 300}
		for _, d := range bucket.Devices {
			m.Devices = append(m.Devices, movedBy{d.MAC.String(), d.RxBytes, d.TxBytes, d.RxPackets, d.TxPackets, d.Conns})
		}
		text, err := json.Marshal(m)
		if err != nil {
			return 0, err
		}
		if batch = append(batch, text); len(batch) < bareBatch && at < ingestBuckets*n.Routers-1 {
			continue
		}
		began := time.Now()
		stored, err := storeBare(ctx, db, insert, batch)
		if err != nil {
			return 0, err
		}
		took += time.Since(began)
		rows += stored
		batch = batch[:0]
	}
	return float64(rows) / took.Seconds(), nil
}

func storeBare(ctx context.Context, db *sql.DB, insert *sql.Stmt, batch [][]byte) (rows int, err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}()
	in := tx.StmtContext(ctx, insert)
	for _, text := range batch {
		var m message
		if err := json.Unmarshal(text, &m); err != nil {
			return 0, err
		}
		for _, d := range m.Devices {
			if _, err := in.ExecContext(ctx, m.Router, d.MAC, m.Start, m.Seconds, int64(d.Rx), int64(d.Tx), int64(d.RxPackets), int64(d.TxPackets), int64(d.Connections)); err != nil {
				return 0, err
			}
			rows++
		}
	}
	return rows, tx.Commit()
}

// callsMeanwhile asks for calls without and with so many rows a second being
// stored.
func (b *bench) callsMeanwhile(ctx context.Context, rate int) error {
	const span = 4 * time.Second
	callers := []int{1, 16}
	// Enough to store for as long as is asked, and for the burst of the limiter.
	buckets := int(1.5*float64(rate)*float64(len(callers))*span.Seconds())/(b.network.Routers*b.network.Devices) + 20
	stage, err := b.newStage(ctx, false, "--push=1h", "--at-once", "--hold", fmt.Sprintf("--push-rate=%d", rate), since(buckets))
	if err != nil {
		return err
	}
	defer stage.close()
	first := uint64(0)
	ask := func(callers int) (turn, error) {
		load := b.askers(stage, callers)
		defer load.Client.CloseIdleConnections()
		load.Span, load.First = span, first
		t, err := measure(ctx, stage.relay.Process, load)
		first = load.First
		return t, err
	}
	all := func() (turns []turn, err error) {
		for _, n := range callers {
			t, err := ask(n)
			if err != nil {
				return nil, err
			}
			turns = append(turns, t)
		}
		return turns, nil
	}
	before, err := all()
	if err != nil {
		return err
	}
	if err := stage.fleet.Signal(syscall.SIGUSR2); err != nil {
		return err
	}
	began := time.Now()
	meanwhile, err := all()
	if err != nil {
		return err
	}
	asked := time.Since(began)
	rows, seconds, err := stage.pushed()
	if err != nil {
		return err
	}
	if seconds < asked.Seconds() {
		return fmt.Errorf("all was stored after %.1f s of the %.1f s in which calls were made; nothing can be said", seconds, asked.Seconds())
	}
	after, err := all()
	if err != nil {
		return err
	}
	fmt.Printf("\nCalls while %.0f rows a second were stored, of %d allowed, and before and after:\n\n| callers | p99 before | p99 meanwhile | p99 after | **ratio** to the mean of both |\n|---:|---:|---:|---:|---:|\n", rows/seconds, rate)
	for i, n := range callers {
		fmt.Printf("| %d | %v | %v | %v | %.2f |\n", n, before[i].p99.Round(time.Microsecond), meanwhile[i].p99.Round(time.Microsecond), after[i].p99.Round(time.Microsecond),
			2*float64(meanwhile[i].p99)/float64(before[i].p99+after[i].p99))
	}
	return nil
}
