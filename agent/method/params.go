package method

import (
	"fmt"
	"strings"

	"github.com/netpilot/netpilot/agent/config"
)

// ParamType is the JSON type of a parameter.
type ParamType uint8

// The types of parameters.
const (
	Text ParamType = iota
	Number
	Flag // true or false
	List // of texts
)

// Param is a parameter of a method; none is needed by every call.
type Param struct {
	Name string
	Type ParamType
}

// takes lists the parameters of every method as words, NAME or NAME:TYPE;
// a name alone is a text.
func takes() map[string]string {
	const (
		filter = " group category name"
		page   = " limit:number offset:number"
		list   = "mac period sort" + filter + page
		span   = "timeframe days:number from to" + filter
	)
	return map[string]string{
		"audit":         "",
		"hello":         "",
		"status":        "brief:flag",
		"devices.list":  "mac online:flag sort" + filter + page,
		"devices.set":   "mac alias group category same_as forget:flag",
		"network.scan":  "",
		"usage.current": list,
		"usage.device":  list,
		"usage.records": list,
		"usage.history": span + " resolution by mac service" + page,
		"usage.summary": span + " by limit:number",
		"usage.live":    "action",
		"router.text":   "what",
		"usage.reset":   "id mac hard:flag clear:flag",
		"doctor":        "",

		"preferences.get": "",
		"preferences.set": preferences(),
		"nlbw":            "args:list",
	}
}

// preferences are the options as parameters.
func preferences() string {
	var words []string
	c := config.Default()
	for name, value := range c.Preferences() {
		switch value.(type) {
		case bool:
			name += ":flag"
		case int:
			name += ":number"
		}
		words = append(words, name)
	}
	return strings.Join(words, " ")
}

// Params are the parameters that a method takes, nil for one that there is
// not.
func (t *Table) Params(name string) []Param {
	params := []Param{}
	words, ok := takes()[name]
	if !ok {
		return nil
	}
	for word := range strings.FieldsSeq(words) {
		name, kind, _ := strings.Cut(word, ":")
		typ, ok := map[string]ParamType{"": Text, "number": Number, "flag": Flag, "list": List}[kind]
		if !ok {
			panic(fmt.Sprintf("no type %q of parameters", kind))
		}
		params = append(params, Param{name, typ})
	}
	return params
}
