// Command hol measures what head-of-line blocking costs on every transport.
package main

func main() {}
