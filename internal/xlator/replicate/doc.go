// Package replicate is the translator "cluster/replicate" (GlusterFS 10.3,
// xlators/cluster/afr): it keeps a copy of every object on each of its children.
//
// # The idea
//
// A fop that changes something is a transaction: lock the object on all
// children, note on each that something is about to happen (pre-op), do it
// everywhere at once, note which children missed it (post-op), unlock. The notes
// are extended attributes of the object on the bricks, changelogs of three
// counters: trusted.afr.VOLUME-client-N on brick i not 0 says "child N missed
// operations that I have seen", trusted.afr.dirty not 0 says "something was
// begun here and not finished". So any client that finds the copies of an object
// later can tell which of them are good, whoever made them so.
//
// A fop that only reads goes to one child whose copy is good. Which children are
// readable is learned in lookups and refreshes, which ask all children at once,
// and kept per object until a child comes or goes (the event generation), or
// until a fop finds something odd (need refresh).
//
// # Invariants
//
//   - A change that reached fewer children than quorum asks for fails.
//   - No child is ever blamed when nobody is left who has the change.
//   - A read is never answered by a child that is known to be blamed.
//   - Losing what is kept about an object costs a refresh, not correctness.
//   - Two clients lock in the same order: many children at once only without
//     waiting, waiting only for one child after the other from the left; several
//     objects in the order of their GFIDs.
//   - Keys, domains, ranges and the order of messages are those of GlusterFS
//     10.3, whose clients and healers work on the same bricks at the same time.
//
// # What is of our own
//
// Nothing of this can be seen by others, but for when requests come:
//
//   - Option hedge-delay (500ms, 0 for never): when the child that was asked for a
//     Read, Stat, Fstat, Getxattr, Fgetxattr, Readlink, Access or Seek has not
//     answered for that long, a second readable child is asked too and the first
//     good answer counts (hedge.go).
//   - A copy that comes back in the middle of a transaction which began without it
//     is not read before the post-op has blamed it (readable.go).
//   - An answer that says something about the object, such as ENODATA, counts and
//     is not asked of the other copies as well (read.go).
//   - What a lookup finds out about copies that are blamed needs no refresh.
//   - Where copies of a directory answer a change of names differently, those that
//     nobody blames count, as of that moment. One that did it to another object, or did what the good
//     ones refuse, is blamed with the name (transaction_names.go). GlusterFS takes
//     each success for the same, and relies on lookups to heal names before.
//   - CopyFileRange and whatever else GlusterFS would do on the first copy alone is
//     refused with EOPNOTSUPP.
//
// Not here: thin arbiters, halo, locks that are healed to a brick that comes back,
// filling new bricks, and healing; each is refused by name where it is asked for.
//
// # Locks in this process
//
// Outer to inner; no lock is held while a child is called unless it says so:
//
//	object.tx (the transactions on one object, see eager.go)
//	fdState.mu (opening a file again on a child that came back)
//	object.mu (what is known of an object)
//	replicate.mu (state of the children)
//
// Read next: replicate.go, then lookup.go and read.go for reading,
// transaction.go for changing.
package replicate
