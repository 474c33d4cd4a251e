package fop

// Keys of XData, of virtual xattrs and of stored xattrs that more than one
// translator knows.
const (
	KeyGFIDReq       = "gfid-req" // the GFID that a new object shall have
	KeyInternalFop   = "glusterfs-internal-fop"
	KeyDirectIO      = "direct-io-mode" // in the reply to an Open: the size tells nothing
	KeyContent       = "glusterfs.content"
	KeyListXattr     = "list-xattr"
	KeyOpenFdCount   = "glusterfs.open-fd-count"
	KeyActiveFdCount = "glusterfs.open-active-fd-count"
	KeyLinkCount     = "get-link-count"
	KeyWriteAppend   = "glusterfs.write-is-append"
	KeyUmask         = "umask"
	KeyMode          = "mode"

	KeyInodelkCount    = "glusterfs.inodelk-count"
	KeyInodelkDomCount = "glusterfs.inodelk-dom-count"
	KeyInodelkPrefix   = "glusterfs.inodelk-dom-prefix"
	KeyMultiDomCount   = "glusterfs.multi-dom-lk-cnt-req"
	KeyEntrylkCount    = "glusterfs.entrylk-count"
	KeyPosixlkCount    = "glusterfs.posixlk-count"
	KeyParentEntrylk   = "glusterfs.parent-entrylk"
	KeyConnectionID    = "connection-id"

	KeyPreStat      = "virt-gf-prestat"
	KeyPostStat     = "virt-gf-poststat"
	KeyIattInXattr  = "dht-get-iatt-in-xattr"
	KeySetCtime     = "set-ctime-mdata"
	KeyPathinfo     = "trusted.glusterfs.pathinfo"
	KeyNodeUUID     = "trusted.glusterfs.node-uuid"
	KeyVolumeID     = "trusted.glusterfs.volume-id"
	XattrGFID       = "trusted.gfid"
	XattrGFID2Path  = "trusted.gfid2path."
	XattrMdata      = "trusted.glusterfs.mdata"
	XattrACLAccess  = "system.posix_acl_access"
	XattrACLDefault = "system.posix_acl_default"
	XattrDHT        = "trusted.glusterfs.dht"
	XattrLinkto     = "trusted.glusterfs.dht.linkto"
)
