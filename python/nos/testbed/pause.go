// The one program of the real node's one image. It says what it was given, and then does nothing, well: until SIGTERM,
// or for as long as its argument says, such as 0s for a Pod that succeeds at once. With a second argument it exits with
// that code.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGCHLD)
	for _, variable := range os.Environ() {
		fmt.Println(variable)
	}
	var timeout <-chan time.Time
	if len(os.Args) > 1 {
		duration, err := time.ParseDuration(os.Args[1])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		timeout = time.After(duration)
	}
	select {
	case <-ended:
	case <-timeout:
	}
	if len(os.Args) > 2 {
		code, _ := strconv.Atoi(os.Args[2])
		os.Exit(code)
	}
}
