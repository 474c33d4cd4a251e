package volserver

import (
	"strconv"
	"strings"
	"syscall"

	"github.com/wythefs/wythe/internal/xdr"
)

const (
	handshakeProgram = 14398633
	handshakeVersion = 2
	handshakeGetspec = 2

	callbackProgram   = 52743234
	callbackFetchSpec = 1

	flagServersList = 1

	minOpVersion = 1
	maxOpVersion = 100000
)

// getspecRequest asks for a volfile.
type getspecRequest struct {
	flags uint32
	key   string
	brick string
}

// AppendXDR appends the message.
func (r *getspecRequest) AppendXDR(b []byte) []byte {
	b = xdr.AppendUint32(b, r.flags)
	b = xdr.AppendString(b, r.key)
	pairs := [][2]string{{"min-op-version", strconv.Itoa(minOpVersion)}, {"max-op-version", strconv.Itoa(maxOpVersion)}}
	if r.brick != "" {
		pairs = append(pairs, [2]string{"brick_name", r.brick})
	}
	var d []byte
	d = xdr.AppendUint32(d, uint32(len(pairs)))
	for _, p := range pairs {
		d = xdr.AppendUint32(d, uint32(len(p[0])))
		d = xdr.AppendUint32(d, uint32(len(p[1])+1))
		d = append(append(d, p[0]...), 0)
		d = append(append(d, p[1]...), 0)
	}
	return xdr.AppendOpaque(b, d)
}

type getspecReply struct {
	ret     int32
	errno   syscall.Errno
	spec    string
	servers string
}

func decodeGetspec(body []byte) (*getspecReply, error) {
	d := xdr.NewDecoder(body)
	r := &getspecReply{ret: d.Int32()}
	switch n := d.Int32(); n {
	case 2:
		r.errno = syscall.ENOENT
	case 22:
		r.errno = syscall.EINVAL
	case 95:
		r.errno = syscall.ENOTSUP
	default:
		r.errno = syscall.Errno(n)
	}
	r.spec = d.String(maxAnswer)
	dict := d.Opaque(maxAnswer)
	if err := d.Finish(); err != nil {
		return nil, err
	}
	r.servers = serverList(dict)
	return r, nil
}

// serverList finds the other servers in the dictionary of an answer.
func serverList(dict []byte) string {
	d := xdr.NewDecoder(dict)
	var list string
	for n := d.Uint32(); n > 0 && d.Err() == nil && d.Len() > 0; n-- {
		keyLen, valLen := d.Uint32(), d.Uint32()
		if uint64(keyLen)+1+uint64(valLen) > uint64(d.Len()) {
			break
		}
		key := string(d.Bytes(int(keyLen)))
		d.Skip(1)
		value := strings.TrimRight(string(d.Bytes(int(valLen))), "\x00")
		if key == "servers-list" {
			return value
		}
		if key == "cluster.brick-vol-servers" {
			list = value
		}
	}
	return list
}
