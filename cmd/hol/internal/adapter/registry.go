package adapter

// All are the transports, in the order of tables.
func All() []Adapter { return all }

// ByName finds an adapter.
func ByName(name string) (Adapter, bool) {
	for _, a := range all {
		if a.Name == name {
			return a, true
		}
	}
	return Adapter{}, false
}

// The order of tables is that of this list.
var all = []Adapter{}
