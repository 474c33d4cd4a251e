package distribute

// none stands for a subvolume that is not there.
const none = -1

// renamePlaces says where the names of a rename live: numbers of subvolumes,
// dstCached none if there is nothing to replace.
type renamePlaces struct {
	srcHashed, srcCached int
	dstHashed, dstCached int
}

// renameStep is one request of the renaming of a file.
type renameStep struct {
	act renameAct
	at  int // subvolume
	// onDst says that it is about the new name; the old one otherwise.
	onDst bool
	// target is what a linkto points to.
	target int
	// privileged steps are ours and not the caller's.
	privileged bool
	// marked: it carries both names for the brick's change log.
	marked bool
}

type renameAct uint8

// What a step does.
const (
	actMknod     renameAct = iota + 1 // make a linkto with the gfid of what is renamed
	actMknodBack                      // make a linkto with the gfid of what is replaced
	actLink                           // give the file its new name too
	actRename
	actUnlink
)

func (a renameAct) String() string {
	return [...]string{"", "MKNOD", "MKNOD-BACK", "LINK", "RENAME", "UNLINK"}[a]
}

// renamePlan is how a file is renamed. The steps of before come one after the
// other, and each must succeed (that there is nothing to unlink is success). If
// one does not, or the rename, what was done is taken back by the steps of back
// whose reason was done. Those of after are done at once; whether they succeed
// makes no difference to the file, only to what is left behind.
type renamePlan struct {
	before []renameStep
	rename renameStep
	after  []renameStep
	back   []renameUndo
	// newLinkto is the subvolume that has a new linkto in the end, none if
	// there is none: it gets the owner of the file.
	newLinkto int
	// inDoubt: the rename replaces the data of the destination on a subvolume
	// where the source's are not. If that fails, it must be found out what
	// happened before anything is taken back.
	inDoubt bool
}

// renameUndo is a step to take back another one.
type renameUndo struct {
	of   int // index in before
	step renameStep
}

// planRename decides how to rename a file. The order keeps two things true all
// the time: the file has a name, and no data are anywhere without a linkto that
// leads to them from the hashed subvolume of the name; where that cannot be, the
// locks on both names hide it.
//
// GlusterFS 10.3 sends the same requests when all goes well. When RENAME fails
// on the destination's hashed subvolume, where it only moves a linkto, it goes
// on, which may leave a name without its linkto or hide the file behind the one
// that it was to replace. Here the rename fails then and is taken back. So is the
// removal of the destination's linkto if RENAME fails after it.
func planRename(p renamePlaces) renamePlan {
	sh, sc, dh, dc := p.srcHashed, p.srcCached, p.dstHashed, p.dstCached
	plan := renamePlan{newLinkto: none}
	at := dh // where RENAME goes
	switch {
	case sc == dc:
		at = sc
		if dh != sc {
			plan.before = append(plan.before, renameStep{act: actUnlink, at: dh, onDst: true, privileged: true})
			plan.back = append(plan.back, renameUndo{0, renameStep{act: actMknodBack, at: dh, onDst: true, target: dc, privileged: true}})
			plan.newLinkto = dh
		}
	case sc != dh:
		if dh != sh {
			plan.before = append(plan.before, renameStep{act: actMknod, at: dh, target: sc, privileged: true})
			plan.back = append(plan.back, renameUndo{0, renameStep{act: actUnlink, at: dh, privileged: true}})
			plan.newLinkto = dh
		}
		plan.back = append(plan.back, renameUndo{len(plan.before), renameStep{act: actUnlink, at: sc, onDst: true, privileged: true}})
		plan.before = append(plan.before, renameStep{act: actLink, at: sc, onDst: true})
		plan.inDoubt = dc == dh
	}
	plan.rename = renameStep{act: actRename, at: at, marked: at == sc, privileged: at != sc && dh != sh}
	if sc == dc && dh != sc {
		plan.after = append(plan.after, renameStep{act: actMknod, at: dh, onDst: true, target: sc, privileged: true})
	}
	if sc != at {
		plan.after = append(plan.after, renameStep{act: actUnlink, at: sc, marked: true})
	}
	if sh != at && sh != sc {
		plan.after = append(plan.after, renameStep{act: actUnlink, at: sh, privileged: true})
	}
	if dc != none && dc != dh && dc != sc {
		plan.after = append(plan.after, renameStep{act: actUnlink, at: dc, onDst: true})
	}
	return plan
}

// undo returns the steps that take back what was done: the first n of before.
// Last things first.
func (p *renamePlan) undo(n int) []renameStep {
	var steps []renameStep
	for i := len(p.back) - 1; i >= 0; i-- {
		if p.back[i].of < n {
			steps = append(steps, p.back[i].step)
		}
	}
	return steps
}
