package posix

import (
	"flag"
	"slices"
	"strings"
	"testing"
)

// realClient also runs the suite where it is known to fail: on GlusterFS's own
// client.
var realClient = flag.Bool("realclient", false, "run the suite on GlusterFS's own client, too, and show what fails")

// glusterLacks is what bricks of GlusterFS 10.3 get wrong, whoever asks them.
var glusterLacks = []string{
	"create/mode",        // mknod(2) and open(2) lose setuid
	"create/ids",         // and setgid
	"acl/default",        // a default list that was removed still counts for a while
	"acl/times",          // xattrs do not move the ctime
	"xattr/times",        //
	"rename/over-linked", // nor does the loss of a name to a rename
	"paths/long-paths",   // paths of more than some 4000 bytes from the root of the brick
}

// longChapters take long on distributed volumes of GlusterFS, where they are run by
// -long: those about permissions, which the kernel and each brick by itself decide,
// and those with most names.
var longChapters = []string{"paths", "permissions", "chmod", "chown", "create", "sticky", "acl", "utimens", "rename", "readdir/many"}

// The suite on our mount of our bricks, and of GlusterFS's.
func TestOurMount(t *testing.T) {
	for _, s := range shapes {
		t.Run("our bricks "+s.name, func(t *testing.T) {
			l := ourVolume(t, s, 1024)
			l.suite(t, manyChecks, l.mount(t, "--acl"))
		})
		t.Run("GlusterFS bricks "+s.name, func(t *testing.T) {
			l := realVolume(t, s, 1024)
			skip, least := glusterLacks, manyChecks
			if s.name == "2x2" && !*long {
				skip, least = slices.Concat(skip, longChapters), fewerChecks
			}
			l.suite(t, least, l.mount(t, "--acl"), "-skip", strings.Join(skip, ","))
		})
	}
}

// Not a test of ours: what GlusterFS's client makes of the suite.
func TestRealClient(t *testing.T) {
	if !*realClient {
		return // nothing asked for
	}
	for _, s := range shapes {
		t.Run("GlusterFS bricks "+s.name, func(t *testing.T) {
			l := realVolume(t, s, 1024)
			l.suite(t, manyChecks, l.realMount(t, "acl"))
		})
		t.Run("our bricks "+s.name, func(t *testing.T) {
			l := ourVolume(t, s, 1024)
			l.suite(t, manyChecks, l.realMount(t, "acl"))
		})
	}
}
