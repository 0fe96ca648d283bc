package kafka

import (
	"fmt"
	"regexp"

	"github.com/IBM/sarama"
)

// Grant is a right of a user.
type Grant struct {
	Operation string // as kafka-acls.sh has it, such as DescribeConfigs
	Resource  string // topic, group or cluster
	Name      string // * for all; "" of the cluster
}

// Grants are what the commands kafka-acls.sh in a text give to a user.
func Grants(text, user string) (all []Grant) {
	for _, line := range regexp.MustCompile(`(?m)^ *kafka-acls\.sh .*User:`+user+`\b.*$`).FindAllString(text, -1) {
		for _, operation := range regexp.MustCompile(`--operation (\w+)`).FindAllStringSubmatch(line, -1) {
			for _, on := range regexp.MustCompile(`--(cluster|topic|group)(?: '?([\w.*-]+)'?)?`).FindAllStringSubmatch(line, -1) {
				all = append(all, Grant{operation[1], on[1], on[2]})
			}
		}
	}
	return all
}

// Permit gives rights to a user, as those commands do.
func Permit(admin sarama.ClusterAdmin, user string, grants ...Grant) error {
	for _, g := range grants {
		resource := sarama.Resource{ResourceName: g.Name, ResourcePatternType: sarama.AclPatternLiteral}
		if g.Resource == "cluster" {
			resource.ResourceName = "kafka-cluster"
		}
		acl := sarama.Acl{Principal: "User:" + user, Host: "*", PermissionType: sarama.AclPermissionAllow}
		if err := resource.ResourceType.UnmarshalText([]byte(g.Resource)); err != nil {
			return fmt.Errorf("permit %v: %w", g, err)
		}
		if err := acl.Operation.UnmarshalText([]byte(g.Operation)); err != nil {
			return fmt.Errorf("permit %v: %w", g, err)
		}
		if err := admin.CreateACLs([]*sarama.ResourceAcls{{Resource: resource, Acls: []*sarama.Acl{&acl}}}); err != nil {
			return fmt.Errorf("permit %v: %w", g, err)
		}
	}
	return nil
}

// ForbidAll takes all rights from a user.
func ForbidAll(admin sarama.ClusterAdmin, user string) error {
	principal := "User:" + user
	_, err := admin.DeleteACL(sarama.AclFilter{
		Principal: &principal, ResourceType: sarama.AclResourceAny, ResourcePatternTypeFilter: sarama.AclPatternAny,
		Operation: sarama.AclOperationAny, PermissionType: sarama.AclPermissionAny,
	}, false)
	if err != nil {
		return fmt.Errorf("take the rights of %s: %w", user, err)
	}
	return nil
}
