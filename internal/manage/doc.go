// Package manage is the management side of a cluster: the model of a volume,
// the volfiles made from it, the service on port 24007 that GlusterFS's and our
// own clients talk to first, and Up, which runs all of it with its bricks in
// one process.
//
// What it promises on the wire: GETSPEC, GET_VOLUME_INFO, GET_SNAPSHOT_INFO and
// EVENT_NOTIFY of the handshake program, the portmapper, and GF-DUMP, answered
// as glusterd 10.3 answers them, so that an unchanged GlusterFS client mounts a
// volume of ours. Volfiles are written with glusterd's texts, options and order;
// only the timeouts of clients are shorter (options.go).
//
// Tests of other packages use Up as a cluster of any shape in their own process:
//
//	c, err := manage.Up(ctx, manage.UpOptions{Dir: t.TempDir(), Listen: "127.0.0.1", Port: -1,
//		Shape: manage.Shape{Distribute: 2, Replica: 2}})
//	v, err := gfapi.MountURL(ctx, c.URL())
//	c.CutBrick(1) // or StopBrick; back with MendBrick, StartBrick
//
// and UpOptions.EditBrick to put translators that fail, wait or record into a
// brick.
//
// What it promises on disk: Up keeps one file, wythe.json, beside the brick
// directories. It is replaced in one step (written, synced, renamed), and a
// lock on wythe.lock keeps two processes off the same directory.
//
// Read next: volume.go (the model), volgen.go, service.go, up_linux.go,
// bricks_linux.go.
package manage
