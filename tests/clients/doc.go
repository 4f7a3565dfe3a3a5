// Package clients runs other people's clients against the real binary, because
// what matters is not what we think the protocols say but what those clients
// accept: the AWS CLI with the very commands of the README, boto3, the
// JavaScript SDK with sns-validator and nodemailer, swaks. It also holds what no
// client does on purpose: raw bad input, and subscribers that hang, fail or are
// down.
package clients
