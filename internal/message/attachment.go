package message

import "strings"

// forbiddenExtensions are the file types SES does not carry.
// ses-guide:mime-types
var forbiddenExtensions = func() map[string]bool {
	m := make(map[string]bool)
	for _, e := range strings.Fields(`ade adp app asp bas bat cer chm cmd com cpl crt csh der exe fxp gadget
		hlp hta inf ins isp its js jse ksh lib lnk mad maf mag mam maq mar mas mat mau mav maw mda mdb mde mdt
		mdw mdz msc msh msh1 msh2 mshxml msh1xml msh2xml msi msp mst ops pcd pif plg prf prg reg scf scr sct
		shb shs sys ps1 ps1xml ps2 ps2xml psc1 psc2 tmp url vb vbe vbs vps vsmacros vss vst vsw vxd ws wsc wsf
		wsh xnk`) {
		m[e] = true
	}
	return m
}()

// CheckFilename refuses attachment names whose extension SES does not carry,
// also behind trailing dots, spaces and control characters, which some systems
// drop when they save the file.
func CheckFilename(name string) error {
	name = strings.TrimRightFunc(name, func(r rune) bool {
		return r <= ' ' || r == '.' || r == '"' || r == '\'' || r >= 0x7f && r < 0xa1
	})
	if forbiddenExtensions[strings.ToLower(name[strings.LastIndexByte(name, '.')+1:])] && strings.Contains(name, ".") {
		return refuse("Illegal filename")
	}
	return nil
}

// nameCheck is the visitor of checkParts.
type nameCheck struct {
	err error
}

func (c *nameCheck) part(e *entity) sink {
	for _, p := range []struct {
		from mediaParams
		name string
	}{{e.disposition, "filename"}, {e.contentType, "name"}} {
		for _, f := range p.from.params {
			if f.Name != p.name || c.err != nil {
				continue
			}
			c.err = CheckFilename(f.Value)
		}
	}
	return nil
}

// checkParts walks the parts of the message, attached messages included, and
// refuses what Check says.
func (m *Message) checkParts() error {
	var names nameCheck
	w := newWalker(&names, true)
	_, _ = w.Write(m.structureHeader())
	_, _ = w.Write(m.Body)
	w.close()
	switch {
	case names.err != nil:
		return names.err
	case w.tooMany():
		return tooManyParts()
	case w.tooDeep:
		return refuse("MIME parts are nested more than %d deep", maxDepth)
	case w.missingBoundary:
		return refuse("Missing start boundary")
	}
	return nil
}

func tooManyParts() error { return refuse("Message has more than %d MIME parts", maxParts) }

// structureHeader returns the header fields that a walk needs.
func (m *Message) structureHeader() []byte {
	var b []byte
	for _, f := range m.Header.fields {
		if f.name > 8 && equalFold(f.raw[:8], "Content-") {
			b = append(b, f.raw...)
		}
	}
	return append(b, '\r', '\n')
}
