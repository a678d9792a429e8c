// Package e2e tests the relay and the agent together, as their main functions
// start them, with a simulated nlbwmon and questions over REST.
package e2e
