package nlbwmon

// NamesOf shows a table's content, keyed by protocol << 16 | port.
func NamesOf(p *Protocols) map[uint32]string { return p.names }
