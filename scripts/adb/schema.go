package adb

// Schema says what a file holds: four letters after the magic.
type Schema string

// The two kinds of file written here; apk-tools has a third, its record of
// what is installed.
const (
	SchemaPackage Schema = "pckg"
	SchemaIndex   Schema = "indx"
)

// Slots of the objects, from apk-tools' src/apk_adb.h. The last of each group
// is the number of slots.
const (
	depName = iota + 1
	depVersion
	depMatch
	depSlots
)
const (
	infoName = iota + 1
	infoVersion
	infoHash
	infoDescription
	infoArch
	infoLicense
	infoOrigin
	infoMaintainer
	infoURL
	infoRepoCommit
	infoBuildTime
	infoInstalledSize
	infoFileSize
	infoProviderPriority
	infoDepends
	infoProvides
	infoReplaces
	infoInstallIf
	infoRecommends
	infoLayer
	infoTags
	infoSlots
)
const (
	aclMode = iota + 1
	aclUser
	aclGroup
	aclXattrs
	aclSlots
)
const (
	fileName = iota + 1
	fileACL
	fileSize
	fileTime
	fileHash
	fileTarget
	fileSlots
)
const (
	dirName = iota + 1
	dirACL
	dirFiles
	dirSlots
)
const (
	packageInfo = iota + 1
	packagePaths
	packageScripts
	packageTriggers
	packageReplacesPriority
	packageSlots
)
const (
	indexDescription = iota + 1
	indexPackages
	indexNameSpec
	indexSlots
)

// kind says how the dump prints a value.
type kind int

const (
	kindString kind = iota
	kindText        // a string that is always printed as a block
	kindHex
	kindInt
	kindOctal
	kindXattr
	kindDependency
	kindObject
	kindArray
)

// node describes a value: its kind, the fields of an object by slot, the items
// of an array.
type node struct {
	kind   kind
	fields []field
	item   *node
}

type field struct {
	name string
	node *node
}

func object(fields ...field) *node { return &node{kind: kindObject, fields: fields} }
func array(item *node) *node       { return &node{kind: kindArray, item: item} }

func infoNode() *node {
	text, number := &node{kind: kindString}, &node{kind: kindInt}
	deps := array(&node{kind: kindDependency})
	return object(
		field{"name", text}, field{"version", text}, field{"hashes", &node{kind: kindHex}}, field{"description", text},
		field{"arch", text}, field{"license", text}, field{"origin", text}, field{"maintainer", text}, field{"url", text},
		field{"repo-commit", &node{kind: kindHex}}, field{"build-time", number}, field{"installed-size", number},
		field{"file-size", number}, field{"provider-priority", number}, field{"depends", deps}, field{"provides", deps},
		field{"replaces", deps}, field{"install-if", deps}, field{"recommends", deps}, field{"layer", number},
		field{"tags", array(text)},
	)
}

func packageNode() *node {
	text, number, script := &node{kind: kindString}, &node{kind: kindInt}, &node{kind: kindText}
	acl := object(field{"mode", &node{kind: kindOctal}}, field{"user", text}, field{"group", text},
		field{"xattrs", array(&node{kind: kindXattr})})
	file := object(field{"name", text}, field{"acl", acl}, field{"size", number}, field{"mtime", number},
		field{"hash", &node{kind: kindHex}}, field{"target", &node{kind: kindHex}})
	dir := object(field{"name", text}, field{"acl", acl}, field{"files", array(file)})
	return object(
		field{"info", infoNode()},
		field{"paths", array(dir)},
		field{"scripts", object(field{"trigger", script}, field{"pre-install", script}, field{"post-install", script},
			field{"pre-deinstall", script}, field{"post-deinstall", script}, field{"pre-upgrade", script},
			field{"post-upgrade", script})},
		field{"triggers", array(text)},
		field{"replaces-priority", number},
	)
}

func indexNode() *node {
	text := &node{kind: kindString}
	return object(field{"description", text}, field{"packages", array(infoNode())}, field{"pkgname-spec", text})
}
