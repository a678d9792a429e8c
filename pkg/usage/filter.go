package usage

import "strings"

// Filter asks for some of the devices. What is empty asks for nothing; letters
// match in either case.
type Filter struct {
	Group    string `json:"group"`
	Category string `json:"category"`
	Name     string `json:"name"` // alias or hostname
}

// Empty tells whether the filter takes every device.
func (f *Filter) Empty() bool { return *f == Filter{} }

// Matches tells whether a device is asked for.
func (f *Filter) Matches(id *Identity) bool {
	return (f.Group == "" || strings.EqualFold(f.Group, id.Group)) &&
		(f.Category == "" || strings.EqualFold(f.Category, id.Category)) &&
		(f.Name == "" || strings.EqualFold(f.Name, id.Alias) || strings.EqualFold(f.Name, id.Hostname))
}
