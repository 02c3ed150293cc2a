package results

import "strings"

// Table writes rows as a Markdown table; the first one has the titles. Columns but
// the first left ones have numbers.
func Table(b *strings.Builder, left int, rows [][]string) {
	for i, row := range rows {
		b.WriteString("| " + strings.Join(row, " | ") + " |\n")
		if i == 0 {
			for j := range row {
				b.WriteString("|---")
				if j >= left {
					b.WriteString(":")
				}
			}
			b.WriteString("|\n")
		}
	}
	b.WriteString("\n")
}

// Thousands groups the digits of a number: 20,000.
func Thousands(s string) string {
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
