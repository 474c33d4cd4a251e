package rpc

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/wythefs/wythe/internal/xdr"
)

// A Flavor says how a credential is encoded.
type Flavor uint32

// Credential flavors. A GlusterFS 10 client sends AuthGlusterV2 until the
// brick's DUMP reply shows the FOP program v400, then AuthGlusterV3.
const (
	AuthNone      Flavor = 0      // nobody in particular: uid 0, gid 0
	AuthUnix      Flavor = 1      // RFC 5531 AUTH_SYS
	AuthGlusterV1 Flavor = 5      // 16 groups, 8-byte lock owner
	AuthGlusterV2 Flavor = 390039 // pid, uid, gid, groups, lock owner
	AuthGlusterV3 Flavor = 390040 // v2 and the ctime stamp
)

// Limits of credentials. In the two newer flavors the groups (counted in
// words) and the lock owner (counted in bytes) share one budget.
const (
	maxCredBody   = 400
	maxGroupsUnix = 16
	maxGroupsV1   = 16
	budgetV2      = 95
	budgetV3      = 91

	// MaxLockOwner is the longest lock owner in bytes that fits every flavor
	// with variable length.
	MaxLockOwner = budgetV3
)

// ErrCred says that a credential cannot be parsed or violates its limits.
var ErrCred = errors.New("rpc: bad credential")

// A Cred is who makes a call. Decoded from a message, Groups and LockOwner
// live as long as the message.
type Cred struct {
	Flavor    Flavor
	PID       int32 // negative values name internal clients, e.g. -6 the self-heal daemon
	UID, GID  uint32
	Groups    []uint32
	LockOwner []byte // opaque, compared by length and bytes

	// Only in AuthGlusterV3: which times the operation touches, and the
	// client's clock.
	TimeFlags uint32
	CTimeSec  uint64
	CTimeNsec uint32
}

// MaxGroups returns how many groups fit into a credential of the flavor next
// to a lock owner of that many bytes.
func (f Flavor) MaxGroups(lockOwner int) int {
	switch f {
	case AuthUnix:
		return maxGroupsUnix
	case AuthGlusterV1:
		return maxGroupsV1
	case AuthGlusterV2:
		return max(0, budgetV2-lockOwner)
	case AuthGlusterV3:
		return max(0, budgetV3-lockOwner)
	}
	return 0
}

// Check reports why c cannot be sent, or nil.
func (c *Cred) Check() error {
	limit := 0
	switch c.Flavor {
	case AuthNone, AuthUnix:
		return nil
	case AuthGlusterV1:
		limit = 8
	case AuthGlusterV2:
		limit = budgetV2
	case AuthGlusterV3:
		limit = budgetV3
	default:
		return fmt.Errorf("%w: unknown flavor %d", ErrCred, c.Flavor)
	}
	if len(c.LockOwner) > limit {
		return fmt.Errorf("%w: lock owner of %d bytes, flavor %d carries %d", ErrCred, len(c.LockOwner), c.Flavor, limit)
	}
	return nil
}

// AppendXDR appends flavor and body. Groups that do not fit are left out, as
// GlusterFS leaves them out. The credential must pass Check.
func (c *Cred) AppendXDR(b []byte) []byte {
	b = xdr.AppendUint32(b, uint32(c.Flavor))
	lengthAt := len(b)
	b = append(b, 0, 0, 0, 0)
	groups := c.Groups
	if limit := c.Flavor.MaxGroups(len(c.LockOwner)); len(groups) > limit {
		groups = groups[:limit]
	}
	switch c.Flavor {
	case AuthUnix:
		b = xdr.AppendUint32(b, 0) // stamp
		b = xdr.AppendString(b, "")
		b = xdr.AppendUint32(b, c.UID)
		b = xdr.AppendUint32(b, c.GID)
		b = appendGroups(b, groups)
	case AuthGlusterV1:
		var owner [8]byte
		copy(owner[:], c.LockOwner)
		b = xdr.AppendUint64(b, binary.LittleEndian.Uint64(owner[:]))
		b = xdr.AppendInt32(b, c.PID)
		b = xdr.AppendUint32(b, c.UID)
		b = xdr.AppendUint32(b, c.GID)
		b = appendGroups(b, groups)
		for range maxGroupsV1 - len(groups) {
			b = xdr.AppendUint32(b, 0)
		}
	case AuthGlusterV2, AuthGlusterV3:
		b = xdr.AppendInt32(b, c.PID)
		b = xdr.AppendUint32(b, c.UID)
		b = xdr.AppendUint32(b, c.GID)
		if c.Flavor == AuthGlusterV3 {
			b = xdr.AppendUint32(b, c.TimeFlags)
			b = xdr.AppendUint32(b, c.CTimeNsec)
			b = xdr.AppendUint64(b, c.CTimeSec)
		}
		b = appendGroups(b, groups)
		b = xdr.AppendOpaque(b, c.LockOwner)
	}
	xdr.PutUint32At(b, lengthAt, uint32(len(b)-lengthAt-4))
	return b
}

func appendGroups(b []byte, groups []uint32) []byte {
	b = xdr.AppendUint32(b, uint32(len(groups)))
	for _, g := range groups {
		b = xdr.AppendUint32(b, g)
	}
	return b
}

// decode fills c from a credential body. It reuses the capacity of c.Groups;
// LockOwner aliases body.
func (c *Cred) decode(flavor Flavor, body []byte) error {
	*c = Cred{Flavor: flavor, Groups: c.Groups[:0]}
	if len(body) > maxCredBody {
		return ErrCred
	}
	d := xdr.NewDecoder(body)
	switch flavor {
	case AuthNone:
		return nil
	case AuthUnix:
		d.Uint32() // stamp
		d.Opaque(255)
		c.UID = d.Uint32()
		c.GID = d.Uint32()
		c.decodeGroups(&d, maxGroupsUnix)
	case AuthGlusterV1:
		owner := d.Uint64()
		c.PID = d.Int32()
		c.UID = d.Uint32()
		c.GID = d.Uint32()
		c.decodeGroups(&d, maxGroupsV1)
		d.Skip(4 * (maxGroupsV1 - len(c.Groups)))
		c.LockOwner = binary.LittleEndian.AppendUint64(nil, owner)
	case AuthGlusterV2, AuthGlusterV3:
		budget := budgetV2
		c.PID = d.Int32()
		c.UID = d.Uint32()
		c.GID = d.Uint32()
		if flavor == AuthGlusterV3 {
			budget = budgetV3
			c.TimeFlags = d.Uint32()
			c.CTimeNsec = d.Uint32()
			c.CTimeSec = d.Uint64()
		}
		c.decodeGroups(&d, budget)
		c.LockOwner = d.Opaque(budget - len(c.Groups))
	default:
		return fmt.Errorf("%w: unknown flavor %d", ErrCred, flavor)
	}
	if d.Err() != nil {
		return fmt.Errorf("%w: %w", ErrCred, d.Err())
	}
	return nil
}

func (c *Cred) decodeGroups(d *xdr.Decoder, limit int) {
	for range d.Count(limit, 4) {
		c.Groups = append(c.Groups, d.Uint32())
	}
}

// Clone returns a copy that does not depend on the message c came from.
func (c *Cred) Clone() *Cred {
	out := *c
	out.Groups = append([]uint32(nil), c.Groups...)
	out.LockOwner = append([]byte(nil), c.LockOwner...)
	return &out
}

func (f Flavor) known() bool {
	switch f {
	case AuthNone, AuthUnix, AuthGlusterV1, AuthGlusterV2, AuthGlusterV3:
		return true
	}
	return false
}
