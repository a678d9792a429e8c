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

// Check refuses a category that no device can have, which would match nothing.
func (f *Filter) Check() error {
	if f.Category != "" && !IsCategory(strings.ToLower(f.Category)) {
		return Errorf(Invalid, "no category %q; choose one of %s", Clean(f.Category, 32), CategoryList())
	}
	return nil
}

// Matches tells whether a device is asked for.
func (f *Filter) Matches(id *Identity) bool {
	return (f.Group == "" || strings.EqualFold(f.Group, id.Group)) &&
		(f.Category == "" || strings.EqualFold(f.Category, id.Category)) &&
		(f.Name == "" || strings.EqualFold(f.Name, id.Alias) || strings.EqualFold(f.Name, id.Hostname))
}
