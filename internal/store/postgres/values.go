package postgres

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/sestina-mail/sestina/internal/sestina"
)

// args are the parameters of one statement in the order they are given, in
// PostgreSQL's binary format.
type args struct {
	values [][]byte
	types  []uint32
}

func (a *args) add(oid uint32, v []byte) *args {
	a.values = append(a.values, v)
	a.types = append(a.types, oid)
	return a
}

func (a *args) int(v int64) *args {
	return a.add(pgtype.Int8OID, binary.BigEndian.AppendUint64(nil, uint64(v)))
}

func (a *args) bool(v bool) *args     { return a.add(pgtype.BoolOID, []byte{boolByte(v)}) }
func (a *args) text(v string) *args   { return a.add(pgtype.TextOID, append([]byte{}, v...)) }
func (a *args) bytes(v []byte) *args  { return a.add(pgtype.ByteaOID, v) }
func (a *args) id(v sestina.ID) *args { return a.add(pgtype.UUIDOID, append([]byte{}, v[:]...)) }
func (a *args) time(v time.Time) *args {
	return a.int(millis(v))
}

// table adds the columns of a table as arrays.
func (a *args) table(t *table) *args {
	for i := range t.columns {
		c := &t.columns[i]
		a.add(arrayOf[c.elem], c.array(t.rows))
	}
	return a
}

func (a *args) ids(v []sestina.ID) *args {
	var t table
	for _, id := range v {
		t.row().id(id)
	}
	return a.list(&t, pgtype.UUIDOID)
}

func (a *args) ints(v []int64) *args {
	var t table
	for _, n := range v {
		t.row().int(n)
	}
	return a.list(&t, pgtype.Int8OID)
}

func (a *args) texts(v []string) *args {
	var t table
	for _, s := range v {
		t.row().text(s)
	}
	return a.list(&t, pgtype.TextOID)
}

// list adds the only column of a table, which may be empty.
func (a *args) list(t *table, elem uint32) *args {
	if t.rows > 0 {
		return a.table(t)
	}
	return a.add(arrayOf[elem], binary.BigEndian.AppendUint32(make([]byte, 8), elem))
}

var arrayOf = map[uint32]uint32{
	pgtype.Int8OID: pgtype.Int8ArrayOID, pgtype.BoolOID: pgtype.BoolArrayOID, pgtype.TextOID: pgtype.TextArrayOID,
	pgtype.ByteaOID: pgtype.ByteaArrayOID, pgtype.UUIDOID: pgtype.UUIDArrayOID,
}

// A table collects rows column by column, for a statement that unnests them.
// Every row gives the same columns in the same order. The zero value is empty.
type table struct {
	rows    int
	next    int // column of the current row
	columns []column
}

// A column holds its elements as they are in the binary format of an array.
type column struct {
	elem uint32
	null bool // some element is NULL
	data []byte
}

// row begins a row.
func (t *table) row() *table {
	t.rows++
	t.next = 0
	return t
}

// at returns the next column of the row.
func (t *table) at(elem uint32) *column {
	if t.next == len(t.columns) {
		t.columns = append(t.columns, column{elem: elem})
	}
	t.next++
	return &t.columns[t.next-1]
}

func (t *table) int(v int64) *table {
	c := t.at(pgtype.Int8OID)
	c.data = binary.BigEndian.AppendUint32(c.data, 8)
	c.data = binary.BigEndian.AppendUint64(c.data, uint64(v))
	return t
}

func (t *table) bool(v bool) *table {
	c := t.at(pgtype.BoolOID)
	c.data = append(c.data, 0, 0, 0, 1, boolByte(v))
	return t
}

func (t *table) text(v string) *table {
	c := t.at(pgtype.TextOID)
	c.data = binary.BigEndian.AppendUint32(c.data, uint32(len(v)))
	c.data = append(c.data, v...)
	return t
}

// textOrNull adds NULL for "".
func (t *table) textOrNull(v string) *table {
	if v != "" {
		return t.text(v)
	}
	t.at(pgtype.TextOID).addNull()
	return t
}

// bytes adds bytes; nil is NULL.
func (t *table) bytes(v []byte) *table {
	c := t.at(pgtype.ByteaOID)
	if v == nil {
		c.addNull()
		return t
	}
	c.data = binary.BigEndian.AppendUint32(c.data, uint32(len(v)))
	c.data = append(c.data, v...)
	return t
}

// blob adds text as bytes.
func (t *table) blob(v string) *table {
	c := t.at(pgtype.ByteaOID)
	c.data = binary.BigEndian.AppendUint32(c.data, uint32(len(v)))
	c.data = append(c.data, v...)
	return t
}

// id adds an id that is part of a key.
func (t *table) id(v sestina.ID) *table {
	c := t.at(pgtype.UUIDOID)
	c.data = append(append(c.data, 0, 0, 0, 16), v[:]...)
	return t
}

// ref adds an id that refers to something; the zero id is NULL.
func (t *table) ref(v sestina.ID) *table {
	if !v.IsZero() {
		return t.id(v)
	}
	t.at(pgtype.UUIDOID).addNull()
	return t
}

// time adds milliseconds; the zero time is 0.
func (t *table) time(v time.Time) *table { return t.int(millis(v)) }

func (c *column) addNull() {
	c.null = true
	c.data = append(c.data, 0xff, 0xff, 0xff, 0xff)
}

// array returns a column with its header.
func (c *column) array(rows int) []byte {
	out := make([]byte, 0, 20+len(c.data))
	out = binary.BigEndian.AppendUint32(out, 1) // dimension
	out = binary.BigEndian.AppendUint32(out, uint32(boolByte(c.null)))
	out = binary.BigEndian.AppendUint32(out, c.elem)
	out = binary.BigEndian.AppendUint32(out, uint32(rows))
	out = binary.BigEndian.AppendUint32(out, 1) // lower bound
	return append(out, c.data...)
}

func boolByte(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// A row is one row of a result. Its methods take the columns in order.
type row struct {
	values [][]byte
	next   int
	err    error
}

func (r *row) value() []byte {
	r.next++
	return r.values[r.next-1]
}

// int reads a number of any width; NULL is 0.
func (r *row) int() int64 {
	switch v := r.value(); len(v) {
	case 0:
		return 0
	case 2:
		return int64(int16(binary.BigEndian.Uint16(v)))
	case 4:
		return int64(int32(binary.BigEndian.Uint32(v)))
	case 8:
		return int64(binary.BigEndian.Uint64(v))
	default:
		r.err = fmt.Errorf("column %d holds a number of %d bytes", r.next, len(v))
		return 0
	}
}

func (r *row) bool() bool {
	v := r.value()
	return len(v) == 1 && v[0] != 0
}

func (r *row) text() string { return string(r.value()) }

// bytes returns a copy; NULL is nil.
func (r *row) bytes() []byte {
	v := r.value()
	if v == nil {
		return nil
	}
	return append(make([]byte, 0, len(v)), v...)
}

// id reads an id; NULL is the zero id.
func (r *row) id() (id sestina.ID) {
	copy(id[:], r.value())
	return id
}

func (r *row) time() time.Time { return fromMillis(r.int()) }

// millis is how times are stored.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// expiry is how the end of a queue message's retention is stored: none is the
// largest number, so that one comparison does for all.
func expiry(t time.Time) int64 {
	if t.IsZero() {
		return math.MaxInt64
	}
	return t.UnixMilli()
}

func fromExpiry(ms int64) time.Time {
	if ms == math.MaxInt64 {
		return time.Time{}
	}
	return fromMillis(ms)
}
