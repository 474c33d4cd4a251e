// Command gen writes the codecs of package proto: fops_gen.go from the structs of
// package fop (requests.go), messages_gen.go from the structs of
// proto's messages.go. Run it with go generate in the directory of package
// proto.
//
// Fields travel in their order. What a field looks like follows from its type
// and its tag wire, see package fop; structs whose encoding does not follow the
// rules are listed in byHand and have their codecs in fops.go.
package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"log"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
)

func main() {
	log.SetFlags(0)
	fops := parse("../fop/requests.go")
	ops := opsOf("../fop/ops.go")
	write("fops_gen.go", genFops(fops, ops))
	write("messages_gen.go", genMessages(parse("messages.go")))
}

// A message is one struct of the sources.
type message struct {
	name   string
	kind   string // embedded field: "Header", "ReplyHeader" or ""
	fields []field
}

type field struct {
	name, typ, tag string
}

// byHand names replies whose codecs do not follow the rules.
var byHand = map[string]bool{"ReadReply": true, "ReaddirReply": true}

func parse(path string) []message {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		log.Fatal(err)
	}
	var out []message
	for _, decl := range file.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.TYPE {
			continue
		}
		for _, spec := range gen.Specs {
			ts := spec.(*ast.TypeSpec)
			st, ok := ts.Type.(*ast.StructType)
			if !ok {
				continue
			}
			m := message{name: ts.Name.Name}
			for _, f := range st.Fields.List {
				typ := typeName(f.Type)
				if len(f.Names) == 0 {
					m.kind = typ
					continue
				}
				tag := ""
				if f.Tag != nil {
					raw, _ := strconv.Unquote(f.Tag.Value)
					tag = reflect.StructTag(raw).Get("wire")
				}
				for _, n := range f.Names {
					m.fields = append(m.fields, field{n.Name, typ, tag})
				}
			}
			out = append(out, m)
		}
	}
	return out
}

func typeName(e ast.Expr) string {
	switch t := e.(type) {
	case *ast.Ident:
		return t.Name
	case *ast.StarExpr:
		return "*" + typeName(t.X)
	case *ast.ArrayType:
		if t.Len == nil {
			return "[]" + typeName(t.Elt)
		}
		return "[" + t.Len.(*ast.BasicLit).Value + "]" + typeName(t.Elt)
	case *ast.SelectorExpr:
		return t.Sel.Name
	}
	return "?"
}

// opsOf reads which request belongs to which Op, and which reply to it.
func opsOf(path string) map[string][2]string {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		log.Fatal(err)
	}
	out := map[string][2]string{}
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Recv == nil {
			continue
		}
		recv := strings.TrimPrefix(typeName(f.Recv.List[0].Type), "*")
		v := out[recv]
		switch f.Name.Name {
		case "Op":
			v[0] = f.Body.List[0].(*ast.ReturnStmt).Results[0].(*ast.Ident).Name
		case "repliedBy":
			v[1] = strings.TrimPrefix(typeName(f.Type.Params.List[0].Type), "*")
		}
		out[recv] = v
	}
	return out
}

type writer struct{ bytes.Buffer }

func (w *writer) line(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }

func write(name string, w *writer) {
	src, err := format.Source(w.Bytes())
	if err != nil {
		os.Stderr.Write(w.Bytes())
		log.Fatal(err)
	}
	if err := os.WriteFile(filepath.Clean(name), src, 0o644); err != nil {
		log.Fatal(err)
	}
}

// prim maps types to the functions of package xdr.
var prim = map[string]string{
	"uint32": "Uint32", "int32": "Int32", "uint64": "Uint64", "int64": "Int64", "bool": "Bool",
}

// limit of strings and opaques by where they stand.
func limit(f field) string {
	switch {
	case f.typ == "string" && f.tag == "path":
		return "MaxPath"
	case f.typ == "string" && f.tag == "text":
		return "xdr.NoLimit"
	case f.typ == "string":
		return "maxName"
	}
	return "xdr.NoLimit"
}

// encode writes the statement that appends field f of m to b.
func encode(w *writer, f field, fd string) {
	x := "m." + f.name
	switch {
	case f.tag == "-" || f.tag == "ret":
	case f.tag == "v400":
		w.line("if v >= V400 {")
		encode(w, field{f.name, f.typ, ""}, fd)
		w.line("}")
	case f.tag == "oflags":
		w.line("b = xdr.AppendUint32(b, %s & openFlags)", x)
	case f.tag == "namelen":
		w.line("b = xdr.AppendUint64(b, nameLen(%s, m.Name))", x)
	case f.tag == "payload":
		w.line("b = xdr.AppendUint32(b, uint32(len(%s)))", x)
	case f.tag == "name":
		w.line("b = xdr.AppendUint32(b, hasName(%s))", x)
		w.line("b = xdr.AppendString(b, %s)", x)
	case f.typ == "string":
		w.line("b = xdr.AppendString(b, %s)", x)
	case f.typ == "*Fd":
		w.line("b = xdr.AppendInt64(b, %s)", fd)
	case f.typ == "GFID" || strings.HasPrefix(f.typ, "[16]"):
		w.line("b = append(b, %s[:]...)", x)
	case f.typ == "*Dict" && f.tag == "odict":
		w.line("b = AppendOldDict(b, %s)", x)
	case f.typ == "*Dict":
		w.line("b = appendDict(b, v, %s)", x)
	case f.typ == "Iatt" && f.tag == "old":
		w.line("b = appendOldIatt(b, &%s)", x)
	case f.typ == "Iatt":
		w.line("b = appendIatt(b, v, &%s)", x)
	case f.typ == "[]byte":
		w.line("b = xdr.AppendOpaque(b, %s)", x)
	case f.typ == "Flock" || f.typ == "LeaseInfo" || f.typ == "Statfs":
		w.line("b = append%s(b, &%s)", f.typ, x)
	case f.typ == "[]LockInfo":
		w.line("b = appendLocks(b, %s)", x)
	case f.typ == "[]Program":
		w.line("b = appendPrograms(b, %s)", x)
	case prim[f.typ] != "":
		w.line("b = xdr.Append%s(b, %s)", prim[f.typ], x)
	default:
		log.Fatalf("no encoding for %s %s", f.name, f.typ)
	}
}

// decode writes the statement that reads field f of m from d.
func decode(w *writer, f field, fd string) {
	x := "m." + f.name
	switch {
	case f.tag == "-" || f.tag == "ret":
	case f.tag == "v400":
		w.line("if d.v >= V400 {")
		decode(w, field{f.name, f.typ, ""}, fd)
		w.line("}")
	case f.tag == "oflags":
		w.line("%s = d.Uint32() & openFlags", x)
	case f.tag == "payload":
		w.line("d.payload = d.Uint32()")
	case f.tag == "name":
		w.line("d.Skip(4) // whether there is a name")
		w.line("%s = d.String(maxName)", x)
	case f.typ == "string":
		w.line("%s = d.String(%s)", x, limit(f))
	case f.typ == "*Fd":
		w.line("%s = d.Int64()", fd)
	case f.typ == "GFID" || strings.HasPrefix(f.typ, "[16]"):
		w.line("d.FixedInto(%s[:])", x)
	case f.typ == "*Dict" && f.tag == "odict":
		w.line("%s = d.oldDict()", x)
	case f.typ == "*Dict":
		w.line("%s = d.dict()", x)
	case f.typ == "Iatt" && f.tag == "old":
		w.line("d.oldIatt(&%s)", x)
	case f.typ == "Iatt":
		w.line("d.iatt(&%s)", x)
	case f.typ == "[]byte":
		w.line("%s = d.Opaque(%s)", x, limit(f))
	case f.typ == "Flock" || f.typ == "LeaseInfo" || f.typ == "Statfs":
		w.line("d.%s(&%s)", strings.ToLower(f.typ[:1])+f.typ[1:], x)
	case f.typ == "[]LockInfo":
		w.line("%s = d.locks()", x)
	case f.typ == "[]Program":
		w.line("%s = d.programs()", x)
	case prim[f.typ] != "":
		w.line("%s = d.%s()", x, prim[f.typ])
	default:
		log.Fatalf("no decoding for %s %s", f.name, f.typ)
	}
}

const banner = `// Code generated by internal/proto/gen; DO NOT EDIT.

package proto

import (`

func genFops(all []message, ops map[string][2]string) *writer {
	w := new(writer)
	w.line("%s", banner)
	w.line("%q\n%q\n)", "github.com/wythefs/wythe/internal/fop", "github.com/wythefs/wythe/internal/xdr")
	var reqs, replies []message
	for _, m := range all {
		switch {
		case m.name == "Disconnect":
		case m.kind == "Header":
			reqs = append(reqs, m)
		case m.kind == "ReplyHeader":
			replies = append(replies, m)
		}
	}
	genDispatch(w, reqs, replies, ops)
	for _, m := range reqs {
		genRequest(w, m)
	}
	for _, m := range replies {
		if !byHand[m.name] {
			genReply(w, m)
		}
	}
	return w
}

func fdFields(m message) (names []string) {
	for _, f := range m.fields {
		if f.typ == "*Fd" && f.tag != "-" {
			names = append(names, f.name)
		}
	}
	return names
}

func payloadOf(m message) string {
	for _, f := range m.fields {
		if f.tag == "payload" {
			return "m." + f.name
		}
	}
	return "nil"
}

func genDispatch(w *writer, reqs, replies []message, ops map[string][2]string) {
	w.line("\n// appendRequest appends the message of req; ok is false if it has none.")
	w.line("func appendRequest(b []byte, v Version, req fop.Request, fd FdRefs) (head, payload []byte, ok bool) {")
	w.line("switch m := req.(type) {")
	for _, m := range reqs {
		arg := ""
		if len(fdFields(m)) > 0 {
			arg = ", fd"
		}
		w.line("case *fop.%s:\nreturn append%s(b, v, m%s), %s, true", m.name, m.name, arg, payloadOf(m))
	}
	w.line("}\nreturn b, nil, false\n}")

	w.line("\n// request reads the message of a fop; nil if there is no such fop.")
	w.line("func (d *decoder) request(op fop.Op) fop.Request {\nswitch op {")
	for _, m := range reqs {
		w.line("case fop.%s:\nm := new(fop.%s)\nd.decode%s(m)\nreturn m", ops[m.name][0], m.name, m.name)
	}
	w.line("}\nreturn nil\n}")

	w.line("\n// Fds returns the open files that a request works on, other than by opening\n// them: none, Fd, or for CopyFileRange Fd and DstFd. has is how many it could name.")
	w.line("func Fds(req fop.Request) (a, b *fop.Fd, has int) {\nswitch m := req.(type) {")
	for _, m := range reqs {
		switch names := fdFields(m); len(names) {
		case 1:
			w.line("case *fop.%s:\nreturn m.%s, nil, 1", m.name, names[0])
		case 2:
			w.line("case *fop.%s:\nreturn m.%s, m.%s, 2", m.name, names[0], names[1])
		}
	}
	w.line("}\nreturn nil, nil, 0\n}")

	w.line("\n// SetFds is the counterpart of Fds, for a server that has resolved the numbers.")
	w.line("func SetFds(req fop.Request, a, b *fop.Fd) {\nswitch m := req.(type) {")
	for _, m := range reqs {
		switch names := fdFields(m); len(names) {
		case 1:
			w.line("case *fop.%s:\nm.%s = a", m.name, names[0])
		case 2:
			w.line("case *fop.%s:\nm.%s, m.%s = a, b", m.name, names[0], names[1])
		}
	}
	w.line("}\n}")

	w.line("\n// appendReply appends a reply; ok is false if its type has no message.")
	w.line("func appendReply(b []byte, v Version, op fop.Op, ret, errno int32, reply fop.Reply) (head, payload []byte, ok bool) {")
	w.line("switch m := reply.(type) {")
	w.line("case *fop.ReadReply:\nreturn appendReadReply(b, v, ret, errno, m), m.Data, true")
	w.line("case *fop.ReaddirReply:\nreturn appendReaddirReply(b, v, op, ret, errno, m), nil, true")
	for _, m := range replies {
		if !byHand[m.name] {
			w.line("case *fop.%s:\nreturn append%s(b, v, ret, errno, m), nil, true", m.name, m.name)
		}
	}
	w.line("}\nreturn b, nil, false\n}")

	w.line("\n// present reports whether there is a reply behind the interface: fop.Call\n// returns a nil pointer with most errors.")
	w.line("func present(reply fop.Reply) bool {\nswitch m := reply.(type) {\ncase nil:\nreturn false")
	for _, m := range replies {
		w.line("case *fop.%s:\nreturn m != nil", m.name)
	}
	w.line("}\nreturn true\n}")

	w.line("\n// reply reads the reply of a fop into a new struct; nil if there is no such fop.")
	w.line("func (d *decoder) reply(op fop.Op) fop.Reply {\nswitch op {")
	w.line("case fop.OpReaddir, fop.OpReaddirp:\nm := new(fop.ReaddirReply)\nd.decodeReaddirReply(op, m)\nreturn m")
	w.line("case fop.OpRead:\nm := new(fop.ReadReply)\nd.decodeReadReply(m)\nreturn m")
	for _, m := range replies {
		if byHand[m.name] {
			continue
		}
		var cases []string
		for _, q := range reqs {
			if ops[q.name][1] == m.name {
				cases = append(cases, "fop."+ops[q.name][0])
			}
		}
		w.line("case %s:\nm := new(fop.%s)\nd.decode%s(m)\nreturn m", strings.Join(cases, ", "), m.name, m.name)
	}
	w.line("}\nreturn nil\n}")
}

func fdArg(m message, f field, n *int, v string) string {
	if f.typ != "*Fd" {
		return ""
	}
	*n++
	return v + string(rune('A'+*n-1))
}

func genRequest(w *writer, m message) {
	params := ""
	if len(fdFields(m)) > 0 {
		params = ", fd FdRefs"
	}
	w.line("\nfunc append%s(b []byte, v Version, m *fop.%s%s) []byte {", m.name, m.name, params)
	n := 0
	for _, f := range m.fields {
		if f.tag == "-" {
			continue
		}
		encode(w, f, fdArg(m, f, &n, "fd."))
	}
	w.line("return appendDict(b, v, m.XData)\n}")
	w.line("\nfunc (d *decoder) decode%s(m *fop.%s) {", m.name, m.name)
	n = 0
	payload := ""
	for _, f := range m.fields {
		if f.tag == "-" {
			continue
		}
		decode(w, f, fdArg(m, f, &n, "d.fd."))
		if f.tag == "payload" {
			payload = f.name
		}
	}
	if n > 0 {
		w.line("d.fd.N = %d", n)
	}
	w.line("m.XData = d.dict()")
	if payload != "" {
		w.line("m.%s = d.takePayload()", payload)
	}
	w.line("}")
}

func genReply(w *writer, m message) {
	w.line("\nfunc append%s(b []byte, v Version, ret, errno int32, m *fop.%s) []byte {", m.name, m.name)
	w.line("b = appendStatus(b, v, ret, errno, m.XData)")
	for _, f := range m.fields {
		encode(w, f, "")
	}
	if m.name == "XattrReply" {
		w.line("b = appendNoIatts(b, v, 2)")
	}
	w.line("return appendLateXData(b, v, m.XData)\n}")
	w.line("\nfunc (d *decoder) decode%s(m *fop.%s) {", m.name, m.name)
	w.line("m.XData = d.status()")
	for _, f := range m.fields {
		decode(w, f, "")
		if f.tag == "ret" {
			w.line("m.%s = %s(max(d.ret, 0))", f.name, f.typ)
		}
	}
	if m.name == "XattrReply" {
		w.line("d.skipIatts(2)")
	}
	w.line("d.lateXData(&m.XData)\n}")
}

func genMessages(all []message) *writer {
	w := new(writer)
	w.line("%s", banner)
	w.line("%q\n)", "github.com/wythefs/wythe/internal/xdr")
	for _, m := range all {
		if m.kind != "" || m.name == "Program" {
			continue
		}
		w.line("\n// AppendXDR appends the message.")
		w.line("func (m *%s) AppendXDR(b []byte) []byte {", m.name)
		for _, f := range m.fields {
			encode(w, f, "")
		}
		w.line("return b\n}")
		w.line("\n// Decode reads the message; slices alias body. What follows it is ignored.")
		w.line("func (m *%s) Decode(body []byte) error {", m.name)
		w.line("d := newDecoder(V330, body)")
		for _, f := range m.fields {
			decode(w, f, "")
		}
		w.line("return d.Err()\n}")
	}
	return w
}
