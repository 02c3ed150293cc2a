package report

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// A Source is one of the studies that a document is made of.
type Source struct {
	Name  string // of the file, without its directory and .json
	Study lab.Study
}

// SourceName is what a Source's Name has to be: it becomes part of the names of
// pictures and of links to them.
var SourceName = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// ReadSources reads the studies of a directory, in the order of their names.
// There may be none, and no directory.
func ReadSources(directory string) ([]Source, error) {
	paths, err := filepath.Glob(filepath.Join(directory, "*.json"))
	if err != nil {
		return nil, err
	}
	var all []Source
	for _, path := range paths {
		s, err := ReadSource(path)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// ReadSource reads one of them.
func ReadSource(path string) (Source, error) {
	name := strings.TrimSuffix(filepath.Base(path), ".json")
	if !SourceName.MatchString(name) {
		return Source{}, fmt.Errorf("report: %s: a study's name has small letters, digits and single hyphens", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return Source{}, err
	}
	defer f.Close()
	s, err := ReadJSON(f)
	if err != nil {
		return Source{}, fmt.Errorf("%s: %w", path, err)
	}
	return Source{name, s}, nil
}

// Trim leaves out of a study what no document shows, which is most of its
// bytes: the distributions of latencies but those of the typical loss, the
// timelines of any but light updates to the client, of their messages the size
// and the wait, and of the distributions what is less than 10 microseconds.
func Trim(s lab.Study) lab.Study {
	keep := map[string]bool{}
	for _, sc := range group(s) {
		keep[conditionKey(typical(sc).Condition)] = true
	}
	s.Cells = slices.Clone(s.Cells)
	for i := range s.Cells {
		c := &s.Cells[i]
		if !keep[conditionKey(c.Condition)] {
			c.CDF = nil
		}
		c.CDF = slices.Clone(c.CDF)
		for j := range c.CDF {
			c.CDF[j] = math.Round(c.CDF[j]*100) / 100
		}
	}
	s.Timelines = slices.DeleteFunc(slices.Clone(s.Timelines), func(t lab.Timeline) bool {
		return topicOf(t.Condition) != updatesDown
	})
	for i := range s.Timelines {
		samples := slices.Clone(s.Timelines[i].Samples)
		for j := range samples {
			samples[j].Size, samples[j].Waited = 0, 0
		}
		s.Timelines[i].Samples = samples
	}
	return s
}

// A topic is a section of the document that scenarios belong to.
type topic string

const (
	updatesDown topic = "updates"
	updatesUp   topic = "up"
	fullLoad    topic = "full"
	burstyLoss  topic = "bursts"
	beginnings  topic = "setup" // updates that nothing was lost of
	besideBulk  topic = "mixed"
	wholePages  topic = "page"
	timedCalls  topic = "rpc"
)

var topics = []topic{updatesDown, updatesUp, fullLoad, burstyLoss, beginnings, besideBulk, wholePages, timedCalls}

var topicTitles = map[topic]string{
	updatesDown: "Light updates", updatesUp: "Light updates", fullLoad: "Full load", burstyLoss: "Updates and bursts", beginnings: "Set-up",
	besideBulk: "Messages beside bulk", wholePages: "Pages", timedCalls: "Calls",
}

// fullSize is the mean size in bytes from which on timed messages are a full
// load rather than a light one.
const fullSize = 500

// topicOf is where a condition belongs.
func topicOf(c lab.Condition) topic {
	switch w := c.Workload; {
	case w.Kind == lab.Mixed:
		return besideBulk
	case w.Kind == lab.Page:
		return wholePages
	case w.Kind == lab.RPC:
		return timedCalls
	case c.Link.Burst.Good > 0:
		return burstyLoss
	case (w.MinSize+w.MaxSize)/2 >= fullSize:
		return fullLoad
	case c.Direction == lab.Up:
		return updatesUp
	}
	return updatesDown
}

// topic is where a scenario belongs.
func (s scenario) topic() topic {
	if s.Base.Workload.Kind == lab.Updates && len(s.lossy()) == 0 {
		return beginnings
	}
	return topicOf(s.Base)
}

// bind puts the scenarios of several studies into the document's order. None has
// cells of two studies, since not everything that studies differ in is part of
// a condition. Scenarios that would have the same title have the study's name in
// it.
func bind(sources []Source) []scenario {
	var all []scenario
	for _, source := range sources {
		of := slices.DeleteFunc(group(source.Study), func(s scenario) bool { return len(cellsOf(s)) == 0 })
		identify(of)
		for i := range of {
			of[i].Source = source.Name
			id := source.Name
			if len(of) > 1 {
				id += "-" + of[i].ID
			}
			of[i].identify(id)
		}
		all = append(all, of...)
	}
	entitle(all, func(s scenario) string { return topicTitles[s.topic()] })
	titles := map[string]int{}
	for _, s := range all {
		titles[s.Title]++
	}
	for i := range all {
		if titles[all[i].Title] > 1 {
			all[i].Title += " (" + all[i].Source + ")"
		}
	}
	slices.SortStableFunc(all, func(a, b scenario) int {
		return cmp.Or(
			slices.Index(topics, a.topic())-slices.Index(topics, b.topic()),
			len(b.transports())-len(a.transports()), // the study of a topic, before what looks into a part of it
		)
	})
	return all
}

// typical is the level nearest to 2 % loss, of those with loss if there is any.
func typical(s scenario) level {
	levels := s.lossy()
	if len(levels) == 0 {
		levels = s.Levels
	}
	return slices.MinFunc(levels, func(a, b level) int {
		da, db := abs(a.Condition.Link.Loss-.02), abs(b.Condition.Link.Loss-.02)
		switch {
		case da < db:
			return -1
		case da > db:
			return 1
		}
		return 0
	})
}
